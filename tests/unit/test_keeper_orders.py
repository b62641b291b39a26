"""An order to a keeper that a defect of ours ends."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from nova_torch.errors import InternalError
from noval_d.life.keeper import Keeper, Order
from tests.support.aio import run


def test_who_ordered_what_a_defect_of_ours_ended_hears_of_it_and_is_not_cancelled() -> None:
    """The drain of a node ended as if it were cancelled, and with it every later order."""

    async def end(_force: bool) -> None:
        raise RuntimeError("a defect")

    async def scene() -> None:
        keeper: Any = Keeper.__new__(Keeper)
        keeper._node, keeper._program = SimpleNamespace(name="n"), SimpleNamespace(end=end)
        keeper.agent = SimpleNamespace(ending=True)
        order = Order(stop=False, force=False, done=asyncio.get_running_loop().create_future())
        with pytest.raises(RuntimeError):
            await keeper._obey(order)
        assert isinstance(order.done.exception(), InternalError)
        assert not keeper.agent.ending

    run(scene())
