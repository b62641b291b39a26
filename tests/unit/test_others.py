"""When a node asks the broker what the others tell."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from nova_torch.broker import NodeLease
from nova_torch.fleet import write_blob
from nova_torch.nodes import NodeCard
from nova_torch.values import AgentId, NodeId
from noval_d.fleet.others import Others


class Fleet:
    """Nodes `n0` and `n1`, seen from `n0`; `signing` is what both tell of themselves."""

    def __init__(self, signing: str) -> None:
        self.signing = signing
        self.looks = 0
        self.now = 100.0
        self.link: Any = SimpleNamespace(
            broker=SimpleNamespace(nodes=self._look), steady=True, demanding=0, beat_soon=lambda: None
        )
        link: Any = self.link
        self.others = Others(NodeId("n0"), link, lambda: self.now)

    async def _look(self) -> list[NodeLease]:
        self.looks += 1
        blob = write_blob("far", [], now_ms=0, card=NodeCard(signing=self.signing))
        return [NodeLease(node=f"n{n}", expires_ms=1, alive=True, blob=blob) for n in range(2)]


def test_the_registry_is_not_read_for_a_message_while_beats_tell_that_nobody_demands_keys() -> None:
    fleet = Fleet("off")
    for _ in range(3):
        assert asyncio.run(fleet.others.strict(AgentId("claude-1"))) == ""
        fleet.now += 60
    assert fleet.looks == 0


def test_what_a_beat_tells_of_is_looked_up() -> None:
    fleet = Fleet("require")
    fleet.link.demanding = 1
    assert asyncio.run(fleet.others.strict(AgentId("@n1"))) == "n1"
    assert fleet.looks > 0


def test_what_a_look_has_shown_holds_before_a_beat_tells_it_and_until_another_look() -> None:
    fleet = Fleet("require")
    asyncio.run(fleet.others.views())
    assert asyncio.run(fleet.others.strict(AgentId("@n1"))) == "n1"
    fleet.signing = "off"
    fleet.now += 60
    assert asyncio.run(fleet.others.strict(AgentId("@n1"))) == ""
    looks = fleet.looks
    fleet.now += 60
    assert asyncio.run(fleet.others.strict(AgentId("@n1"))) == ""
    assert fleet.looks == looks
