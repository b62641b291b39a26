"""How often a node asks the broker what the others tell."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from nova_torch.broker import NodeLease
from nova_torch.fleet import write_blob
from nova_torch.nodes import NodeCard
from nova_torch.values import AgentId, NodeId
from noval_d.fleet.others import Others


@pytest.mark.parametrize(("nodes", "looks_after_s"), [(3, 5.0), (300, 30.0)])
def test_the_larger_the_fleet_the_less_often_it_is_asked_who_takes_only_what_is_signed(
    nodes: int, looks_after_s: float
) -> None:
    now, looked = 100.0, 0
    blob = write_blob("far", [], now_ms=0, card=NodeCard(signing="off"))

    async def look() -> list[NodeLease]:
        nonlocal looked
        looked += 1
        return [NodeLease(node=f"n{n}", expires_ms=1, alive=True, blob=blob) for n in range(nodes)]

    link: Any = SimpleNamespace(broker=SimpleNamespace(nodes=look), pace=SimpleNamespace(beat_s=5.0))
    others = Others(NodeId("n0"), link, lambda: now)

    async def asked() -> int:
        assert await others.strict(AgentId("claude-1")) == ""
        return looked

    assert asyncio.run(asked()) == 1
    now += looks_after_s - 0.1
    assert asyncio.run(asked()) == 1
    now += 0.1
    assert asyncio.run(asked()) == 2
