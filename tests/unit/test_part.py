"""What the log says of a part of the node that ends it."""

from __future__ import annotations

import asyncio

import pytest

from nova_torch.errors import InvalidRequest, NovaError
from noval_d.node.part import Part


@pytest.mark.parametrize("error", [ZeroDivisionError("its own"), InvalidRequest("explained.")])
def test_a_part_that_fails_is_named_by_the_time_that_the_node_ends(
    caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise error

    async def node() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                Part("whole", asyncio.Event().wait).start(group)  # type: ignore[arg-type]
                Part("broken", fails).start(group)
        finally:
            (record,) = caplog.records
            assert record.msg == "node.part_failed"
            assert vars(record)["part"] == "broken"
            assert bool(record.exc_info) is not isinstance(error, NovaError)

    with pytest.raises(ExceptionGroup):
        asyncio.run(node())
