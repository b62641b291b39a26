"""When a node asks the broker what the others tell."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from nova_torch.blobs import write_blob
from nova_torch.broker import NodeLease
from nova_torch.fleet import NodeView
from nova_torch.nodes import NodeCard
from nova_torch.registry import Query, find
from nova_torch.values import AgentId, AgentRecord, AgentState, NodeId
from noval_d.fleet.others import Others, write_order


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


class Told:
    """What the broker has of nodes, seen from `me`. Each look is a new one."""

    def __init__(self, **agents: str) -> None:
        self.now = 0.0
        self.leases = {name: _lease(name, list(there)) for name, there in {"me": "", **agents}.items()}
        self.link: Any = SimpleNamespace(
            broker=SimpleNamespace(nodes=self._nodes, owner_of=self._owner_of),
            steady=True, demanding=0, beat_soon=lambda: None, pace=SimpleNamespace(lease_s=20.0),
        )  # fmt: skip
        link: Any = self.link
        self.others = Others(NodeId("me"), link, lambda: self.now)
        self.owned: set[str] = set()

    async def _nodes(self) -> list[NodeLease]:
        return list(self.leases.values())

    async def _owner_of(self, agent: AgentId) -> object:
        return "somebody" if agent in self.owned else None

    def set(self, node: str, **changed: Any) -> None:
        self.leases[node] = replace(self.leases[node], **changed)

    def say(self, node: str, *agents: str | AgentRecord, **about: Any) -> None:
        self.set(node, blob=_lease(node, agents, **about).blob)

    def look(self) -> dict[str, NodeView]:
        self.now += 1
        return {view.node: view for view in asyncio.run(self.others.views())}

    def states(self) -> dict[str, tuple[str, str]]:
        found = find(list(self.look().values()), Query())
        return {record.agent_id: (record.node, record.state.value) for record in found}

    def has(self, agent: str) -> bool:
        return asyncio.run(self.others.has(AgentId(agent)))


def _agent(name: str, node: str) -> AgentRecord:
    return AgentRecord(
        agent_id=AgentId(name), role="", skills=(), node=NodeId(node), driver="line", pane="%1", session="s",
        window="w", state=AgentState.IDLE, state_since_ms=1, queued=0, last_seen_ms=1,
    )  # fmt: skip


def _lease(node: str, agents: Any, **about: Any) -> NodeLease:
    rows = [_agent(each, node) if isinstance(each, str) else each for each in agents]
    blob = write_blob(node, rows, now_ms=5, card=NodeCard(lease_ms=100, **about))
    return NodeLease(node=node, expires_ms=1100, alive=True, blob=blob)


def test_a_lease_that_ends_and_comes_back_shows_although_the_node_told_nothing_new() -> None:
    told = Told(x="ab", y="c")
    assert told.states() == {"a": ("x", "idle"), "b": ("x", "idle"), "c": ("y", "idle")}
    here = told.look()["x"]
    assert told.look()["x"] is here  # nothing is made anew of what did not change
    told.set("x", alive=False, silent_ms=7)
    assert told.states() == {"a": ("x", "lost"), "b": ("x", "lost"), "c": ("y", "idle")}
    assert (told.look()["x"].silent_ms, told.look()["x"].state) == (7, "disconnected")
    told.set("x", silent_ms=400_000)
    assert (told.look()["x"].silent_ms, told.look()["x"].state) == (400_000, "down")
    told.set("x", alive=True, silent_ms=0, expires_ms=1300)
    assert told.states()["a"] == ("x", "idle")
    back = told.look()["x"]
    assert (back.last_seen_ms, back.silent_ms, back.alive) == (1200, 0, True)
    assert all(now is then for now, then in zip(back.agents, here.agents, strict=True))


def test_a_large_fleet_is_read_in_turns_with_what_else_there_is_to_do() -> None:
    told = Told(**{f"n{n:03}": "" for n in range(100)})

    async def turns() -> int:
        count = 0
        look = asyncio.create_task(told.others.views())
        while not look.done():
            await asyncio.sleep(0)
            count += 1
        assert len(look.result()) == 100
        return count

    first = asyncio.run(turns())
    told.now += 1
    assert first - asyncio.run(turns()) == 3, "of the second look nothing is read anew"


def test_who_is_not_steady_himself_takes_nobody_for_dead_and_says_so_when_he_is() -> None:
    told = Told(x="a")
    told.set("x", alive=False, silent_ms=7)
    told.link.steady = False
    assert told.states() == {"a": ("x", "idle")}
    assert told.look()["x"].silent_ms == 0
    told.link.steady = True
    assert told.states() == {"a": ("x", "lost")}


def test_an_order_shows_although_the_node_told_nothing_new() -> None:
    told = Told(x="a")
    assert told.look()["x"].takes
    told.set("x", order=write_order("drain", None))
    assert (told.look()["x"].order, told.look()["x"].takes) == ("drain", False)
    told.set("x", order=b"")
    assert told.look()["x"].takes


def test_agents_that_move_change_and_go_are_seen_and_the_rest_stays_what_it_was() -> None:
    told = Told(x="abc", y="d")
    before = told.look()["x"].agents
    busy = replace(_agent("b", "x"), state=AgentState.BUSY)
    told.say("x", busy, "c")
    told.say("y", "d", "a")
    assert told.states() == {"a": ("y", "idle"), "b": ("x", "busy"), "c": ("x", "idle"), "d": ("y", "idle")}
    assert told.look()["x"].agents == (busy, before[2])
    assert told.look()["x"].agents[1] is before[2]


def test_of_two_nodes_that_name_an_agent_the_living_one_counts_at_each_look() -> None:
    told = Told(x="a", y="a")
    told.set("x", expires_ms=9000)
    assert told.states() == {"a": ("x", "idle")}  # both live: who beat last
    told.set("x", alive=False)
    assert told.states() == {"a": ("y", "idle")}
    told.set("y", alive=False)
    told.set("x", alive=True)
    assert told.states() == {"a": ("x", "idle")}
    told.set("x", alive=False)
    assert told.states() == {"a": ("x", "lost")}


def test_a_node_that_is_forgotten_or_cannot_be_read_has_no_agents_until_it_can() -> None:
    told = Told(x="a", y="b")
    assert told.states().keys() == {"a", "b"}
    whole = told.leases["x"]
    told.set("x", blob=b"\xc1")
    assert told.states().keys() == {"b"}
    told.leases["x"] = whole
    assert told.states().keys() == {"a", "b"}
    del told.leases["x"]
    assert told.states().keys() == {"b"}
    told.leases["x"] = whole
    assert told.states().keys() == {"a", "b"}


def test_the_names_of_agents_are_those_of_the_last_look_and_of_before_while_the_registry_fills_again() -> (
    None
):
    told = Told(x="ab", y="c")
    told.look()
    assert told.others.names == {"a", "b", "c"}
    told.owned = {"m"}
    assert told.has("m")
    assert told.others.names == {"a", "b", "c", "m"}
    told.set("y", alive=False)
    told.look()
    assert told.others.names == {"a", "b"}
    told.others.lost()
    assert told.has("a")
    assert not told.has("c")
    told.say("x", "b")
    told.look()
    told.look()
    assert told.has("a")  # its node may have to claim it again
    assert told.others.names == {"a", "b"}
    told.now += 30
    assert not told.has("a")
    told.look()
    assert told.others.names == {"b"}
    told.link.broker = None
    assert (told.has("b"), told.has("a")) == (True, False)


def test_what_is_signed_is_asked_of_the_node_that_lives() -> None:
    told = Told(x="a", y="a")
    told.say("x", "a", signing="require")
    told.look()
    assert asyncio.run(told.others.strict(AgentId("@x"))) == "x"
    assert asyncio.run(told.others.strict(AgentId("a"))) == ""  # both live: the last by name
    told.set("y", alive=False)
    told.look()
    assert asyncio.run(told.others.strict(AgentId("a"))) == "x"
    told.say("x", "b", signing="require")
    told.look()
    assert asyncio.run(told.others.strict(AgentId("a"))) == ""


def test_what_changes_while_it_is_read_is_read_again() -> None:
    fleet = Fleet("off")
    look = fleet.link.broker.nodes

    async def changed_meanwhile() -> list[NodeLease]:
        leases: list[NodeLease] = await look()
        fleet.others.stale()
        return leases

    fleet.link.broker.nodes = changed_meanwhile
    asyncio.run(fleet.others.views())
    fleet.link.broker.nodes = look
    asyncio.run(fleet.others.views())
    asyncio.run(fleet.others.views())
    assert fleet.looks == 2
