"""What nodes tell of themselves: states, pace, roles that would be lost, and what is said with which beat."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import msgpack
import pytest

from nova_torch.blobs import Reader, read_blob, write_blob
from nova_torch.broker import NodeLease
from nova_torch.config import Config
from nova_torch.errors import ConfigInvalid, Conflict
from nova_torch.fleet import Gathered, NodeView, everybody
from nova_torch.nodes import DOWN_MS, Drain, Load, NodeCard, check_labels, last_of, pace, state_of
from nova_torch.performance import Performance
from nova_torch.registry import Query, find, page_of
from nova_torch.values import AgentId, AgentRecord, AgentState, NodeId
from noval_d.calls.nodes import refuse_last
from noval_d.fleet.card import gist
from noval_d.fleet.others import read_order, write_order
from noval_d.fleet.saying import Saying
from noval_d.node.claims import Claims
from noval_d.vitals.lag import LoopLag


def agent(name: str, node: str = "n", *, seen: int = 5, role: str = "") -> AgentRecord:
    return AgentRecord(
        agent_id=AgentId(name), role=role, skills=(), node=NodeId(node), driver="line", pane="%1",
        session="s", window="w", state=AgentState.IDLE, state_since_ms=1, queued=0, last_seen_ms=seen,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("card", "alive", "silent_ms", "state"),
    [
        (NodeCard(), True, 0, "ready"),
        (NodeCard(errors=("state_file_failing",)), True, 0, "degraded"),
        (NodeCard(errors=("state_file_failing",), drain=Drain(since_ms=1)), True, 0, "draining"),
        (NodeCard(drain=Drain(since_ms=1)), False, 1, "disconnected"),
        (NodeCard(), False, DOWN_MS, "disconnected"),
        (NodeCard(), False, DOWN_MS + 1, "down"),
        (NodeCard(left=True), False, 0, "down"),
    ],
)
def test_the_state_of_a_node(card: NodeCard, alive: bool, silent_ms: int, state: str) -> None:
    assert state_of(card, alive=alive, silent_ms=silent_ms) == state


def test_a_node_that_is_ordered_to_drain_takes_nothing_new_before_it_has_heard_of_it() -> None:
    ordered = NodeView(node="n", alive=True, order="drain")
    assert (ordered.state, ordered.takes) == ("draining", False)
    assert NodeView(node="n", alive=True, order="resume").takes
    assert NodeView(node="n", alive=True, card=NodeCard(max_agents=3), agents=(agent("a"),)).free == 2
    assert NodeView(node="n", alive=True).free is None


@pytest.mark.parametrize(
    ("order", "drains", "refused"),
    [("", True, False), ("drain", False, False), ("resume", True, True), ("", False, True)],
)
def test_the_last_that_takes_anything_new_may_drain_only_if_it_drains_for_good(
    order: str, drains: bool, refused: bool
) -> None:
    worker = replace(agent("w"), role="worker")
    leaves = NodeCard(drain=Drain(since_ms=1))
    here = NodeView(
        node="here", alive=True, order=order, card=leaves if drains else NodeCard(), agents=(worker,)
    )
    other = NodeView(node="other", alive=True, card=leaves, agents=(worker,))
    with pytest.raises(Conflict, match="last") if refused else nullcontext():
        refuse_last([here, other], "here")


def test_beats_are_as_configured_up_to_three_hundred_nodes_and_then_slower() -> None:
    small, full, large, huge = (pace(n, beat_s=5, lease_s=20) for n in (1, 300, 900, 100_000))
    assert (small.beat_s, small.lease_s, small.again_s) == (5, 20, 15)
    assert small.soon_s < 0.01  # a change is told at once where beats cost nothing
    assert (full.beat_s, full.lease_s, full.soon_s) == (5, 20, 1)
    assert (large.beat_s, large.lease_s, large.soon_s) == (15, 60, 3)
    assert (huge.beat_s, huge.lease_s, huge.soon_s) == (30, 120, 5)
    for each in (small, full, large, huge):
        assert each.lease_s / each.beat_s == 4


def test_roles_that_nobody_would_have_any_more_are_named() -> None:
    roles = {
        "reviewer": [("one", True), ("one", True)],
        "builder": [("one", True), ("two", True)],
        "tester": [("one", True), ("two", False)],
        "writer": [("two", True)],
    }
    assert last_of(roles, "one") == ["reviewer", "tester"]
    assert last_of(roles, "two") == ["writer"]
    assert last_of(roles, "three") == []


@pytest.mark.parametrize("label", ["", "zone=", "=eu", "a b", "x" * 64, "zone=eu=1", "-x"])
def test_a_label_that_is_none_is_refused(label: str) -> None:
    with pytest.raises(ConfigInvalid, match=r"node\.labels"):
        check_labels([label])


def test_a_label_has_one_value() -> None:
    check_labels(["zone=eu", "gpu", "disk/ssd"])
    with pytest.raises(ConfigInvalid, match="'zone' twice"):
        check_labels(["zone=eu", "zone=us"])


def test_what_a_node_tells_of_itself_is_read_as_it_was_written() -> None:
    card = NodeCard(
        version="2", labels=("gpu",), max_agents=4, lease_ms=20_000, errors=("x",),
        drain=Drain(since_ms=1, deadline_ms=2, by="user:a"), load=Load(cpu_percent=5.0, cores=2),
    )  # fmt: skip
    view = read_blob("n", write_blob("n", [agent("a")], now_ms=7, card=card), alive=True)
    assert view is not None
    assert view.card == card
    assert (view.last_seen_ms, view.agents) == (7, (agent("a"),))


def test_a_node_was_last_seen_as_its_lease_tells() -> None:
    with_lease = write_blob("n", [], now_ms=7, card=NodeCard(lease_ms=20_000))
    old = write_blob("old", [], now_ms=7)  # as versions before leases told it
    reader = Reader()
    for expires_ms, seen_ms in ((90_000, 70_000), (95_000, 75_000), (20_001, 7)):
        there = [
            NodeLease(node=node, expires_ms=expires_ms, alive=True, blob=blob)
            for node, blob in (("n", with_lease), ("old", old))
        ]
        new, older = reader.views(there)
        assert new.last_seen_ms == seen_ms
        assert (older.card, older.state, older.last_seen_ms) == (NodeCard(), "ready", 7)
    assert repr(reader) == "<Reader 2 nodes>"
    assert reader.views([]) == []
    assert repr(reader) == "<Reader 0 nodes>"


def test_a_node_that_cannot_be_read_is_named_until_it_can() -> None:
    reader = Reader()
    for blob, unreadable, agents in (
        (write_blob("n", [agent("a")], now_ms=1), frozenset(), 1),
        (b"\xc1", frozenset({"n"}), 0),
        (b"\xc1", frozenset({"n"}), 0),
        (write_blob("n", [agent("a")], now_ms=1), frozenset(), 1),
        (b"", frozenset(), 0),
    ):
        (view,) = reader.views([NodeLease(node="n", expires_ms=1, alive=False, blob=blob, silent_ms=3)])
        assert (reader.unreadable, len(view.agents), view.silent_ms) == (unreadable, agents, 3)


@pytest.mark.parametrize(
    "nonsense", [None, 7, "x", [], {"labels": 3, "max_agents": "x", "drain": 1, "load": 2}]
)
def test_nonsense_about_a_node_is_nothing(nonsense: object) -> None:
    assert NodeCard.from_json(nonsense) == NodeCard()


def test_an_agent_of_a_lost_node_is_lost_unless_it_lives_elsewhere() -> None:
    gone = NodeView(node="gone", alive=False, last_seen_ms=9, agents=(agent("a", "gone"), agent("b", "gone")))
    here = NodeView(node="here", alive=True, last_seen_ms=3, agents=(agent("b", "here"),))
    found = everybody([here, gone])
    assert [(one.agent_id, one.node, one.state.value) for one in found] == [
        ("a", "gone", "lost"),
        ("b", "here", "idle"),
    ]
    assert found == everybody([gone, here])
    assert found[0].state_since_ms == 9, "it is lost since its node was heard of last"


def test_only_what_is_new_is_said_and_the_whole_again_now_and_then() -> None:
    agents = [agent("a")]
    card = NodeCard()
    saying = Saying(
        lambda: write_blob("n", agents, now_ms=0, card=card),
        lambda: [one.agent_id for one in agents],
        jitter=lambda low, high: (low + high) / 2,
    )

    def beat(now: float) -> str:
        said = saying.next(now)
        saying.said(said, now, again_s=15)
        assert bool(said.blob) is (said.news != "same")
        return said.news

    assert [beat(now) for now in (0, 5, 10)] == ["new", "same", "same"]
    agents[:] = [agent("a", seen=99)]
    assert [beat(now) for now in (14, 16, 20)] == ["same", "again", "same"]
    agents[:] = [agent("a"), agent("b")]
    assert [beat(now) for now in (21, 26, 37)] == ["new", "same", "again"]
    saying.forget()
    assert [beat(now) for now in (38, 39)] == ["new", "same"]


def test_all_that_a_node_tells_is_news_but_its_load() -> None:
    names = ["stream:x"]
    here = SimpleNamespace(
        broker=SimpleNamespace(claims=Claims(NodeId("n"), tuple), pace=pace(1, beat_s=5, lease_s=20)),
        roster=SimpleNamespace(news=lambda but: [one for one in ("a", "b") if one not in but], agents=()),
        meter=SimpleNamespace(load=Load()), draining=SimpleNamespace(drain=None), stopping=asyncio.Event(),
        guard=SimpleNamespace(seals=SimpleNamespace(mode="off", signs=False)), lag=LoopLag(lambda: 0.0),
        config=Config(), tmux=SimpleNamespace(state="up"), store=SimpleNamespace(failing=False),
        broken_drivers={}, bridges=SimpleNamespace(names=names),
    )  # fmt: skip
    node = cast("Any", here)
    before = gist(node)
    here.meter.load = Load(cores=2)
    assert gist(node) == before
    changes: list[Callable[[], object]] = [
        lambda: names.append("stream:y"),
        lambda: setattr(here.store, "failing", True),
        lambda: setattr(here.draining, "drain", Drain(since_ms=1)),
        lambda: here.broker.claims._taken.update(a="it is served by another node"),
        here.stopping.set,
    ]
    for change in changes:
        change()
        assert gist(node) != before
        before = gist(node)


def test_what_was_packed_before_is_told_as_what_is_packed_anew() -> None:
    card = NodeCard(labels=("gpu",))
    a, b, c = agent("a"), agent("b"), agent("c")
    for agents in ([a, b], [a, b], [b, c, a], [replace(a, queued=2), b], [], [a]):
        blob = write_blob("n", agents, now_ms=7, bridges=["stream:x"], card=card)
        assert msgpack.unpackb(blob) == {
            "node": "n", "at_ms": 7, "agents": [each.to_json() for each in agents], "bridges": ["stream:x"],
            "about": card.to_json(),
        }  # fmt: skip
    assert a.packed is a.packed, "it is packed once"


def test_who_has_not_changed_is_not_read_anew() -> None:
    newer = replace(agent("new"), state=AgentState.BUSY, more={"state": "dreaming", "mood": "good"})
    told = [
        agent("a"),
        agent("b"),
        agent("same"),
        newer,
        replace(agent("p"), performance=Performance(messages=3)),
    ]
    first = read_blob("n", write_blob("n", told, now_ms=7), alive=True)
    assert first is not None
    assert first.agents == tuple(told)
    told[:2] = [agent("a", seen=9), replace(agent("b"), performance=Performance(messages=1, failed=1))]
    second = read_blob("n", write_blob("n", told, now_ms=8), alive=True, before=first.agents)
    assert second is not None
    assert second.agents == tuple(told)
    same = [x is y for x, y in zip(first.agents, second.agents, strict=True)]
    assert same == [False, False, True, True, True]


def test_rows_that_are_looked_through_and_listed_are_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    told = [agent("b", seen=3), agent("a"), replace(agent("p"), performance=Performance(messages=3))]
    view = read_blob("n", write_blob("n", told, now_ms=7), alive=True)
    assert view is not None
    with monkeypatch.context() as patch:
        patch.setattr(AgentRecord, "read", lambda *_: pytest.fail("a row was opened"))
        found = find([view], Query(), Gathered())
        page, following = page_of(found, after="a", limit=1)
        assert ([record.agent_id for record in page], following) == (["b"], "b")
        busy = replace(told[0], state=AgentState.BUSY, role="r", skills=("sql",))
        other = read_blob("n", write_blob("n", [busy, *told[1:]], now_ms=8), alive=True, before=view.agents)
        assert other is not None
        for query, names in (
            (Query(role="r"), "b"), (Query(skills=("sql",)), "b"), (Query(node="n"), "abp"),
            (Query(free=True), "ap"), (Query(state="busy"), "b"),
        ):  # fmt: skip
            assert "".join(record.agent_id for record in find([other], query)) == names
        same = read_blob("n", write_blob("n", told, now_ms=8), alive=True, before=view.agents)
        assert same is not None
        assert [x is y for x, y in zip(view.agents, same.agents, strict=True)] == [True] * 3
    assert [record.last_seen_ms for record in view.agents] == [3, 5, 5]


def test_a_record_that_was_not_opened_is_what_it_is_in_all_that_is_done_with_it() -> None:
    told = replace(agent("a"), performance=Performance(messages=3), more={"mood": "good"})

    def unopened() -> AgentRecord:
        view = read_blob("n", write_blob("n", [told], now_ms=7), alive=True)
        assert view is not None
        return view.agents[0]

    assert unopened() == told == unopened()
    assert (hash(unopened()), repr(unopened())) == (hash(told), repr(told))
    assert replace(unopened(), queued=2) == replace(told, queued=2)
    assert (
        copy.copy(unopened()) == copy.deepcopy(unopened()) == pickle.loads(pickle.dumps(unopened())) == told
    )
    assert unopened().packed == told.packed == msgpack.packb(told.to_json())
    with pytest.raises(AttributeError, match="stat'"):
        _ = unopened().stat  # type: ignore[attr-defined]
    assert not hasattr(AgentRecord.__new__(AgentRecord), "role")


SETTLED = Performance(messages=3, failed=1, ack_median_s=0.5, tasks_completed=1, avg_completion_time=2.5)
WELL = agent("a").to_json()
ODD: tuple[object, ...] = (None, True, 7, 2.5, "x", [7], ["x"], {}, {"x": 1})


@pytest.mark.parametrize(
    "told", [agent("a"), replace(agent("a"), skills=("sql", "go"), performance=SETTLED, role="r")]
)
def test_a_row_as_this_version_writes_it_goes_out_as_it_came(told: AgentRecord) -> None:
    row = bytes(msgpack.packb(told.to_json()))
    assert AgentRecord.of_row(row).packed is row


def goes_out_as_it_is_read(row: dict[str, object]) -> bool:
    sent = msgpack.unpackb(AgentRecord.of_row(msgpack.packb(row)).packed)
    return bool(sent == AgentRecord.from_json(row).to_json())


@pytest.mark.parametrize("part", sorted({*WELL, "newer"} - {"agent_id", "performance"}))
def test_a_row_with_a_part_that_is_odd_goes_out_as_it_is_read(part: str) -> None:
    for value in ODD:
        told = WELL | {part: value}
        assert goes_out_as_it_is_read(told), value
        assert goes_out_as_it_is_read({name: it for name, it in told.items() if name != "attention"}), value


@pytest.mark.parametrize("figure", sorted({*SETTLED.to_json(), "newer"} - {"success_rate"}))
def test_a_row_with_a_figure_that_is_odd_goes_out_as_it_is_read(figure: str) -> None:
    for value in ODD:
        told = SETTLED.to_json() | {figure: value}
        told["success_rate"] = Performance.from_json(told).success_rate
        renamed = {"other" if name == figure else name: it for name, it in told.items()}
        lacks = {name: it for name, it in told.items() if name != "tasks_failed"}
        for performance in (told, renamed, lacks, value):
            assert goes_out_as_it_is_read(WELL | {"performance": performance}), value


@pytest.mark.parametrize(
    "rows",
    [
        None, 7, "x", {"agent_id": 1}, [7], ["agent_id"], [[WELL]], [WELL, {}], [{"agent_id": "a"}],
        [{**WELL, 7: 8}], [{"state": "idle"}],
    ],
)  # fmt: skip
def test_a_node_whose_agents_cannot_be_read_is_not_read_in_part(rows: object) -> None:
    well = msgpack.packb({"node": "n", "agents": [WELL]})
    assert read_blob("n", well, alive=True) is not None
    assert read_blob("n", msgpack.packb({"node": "n", "agents": rows}), alive=True) is None
    broken = well.replace(b"idle", b"idl\xff")
    for blob in (well[:-1], well + b"\x00", broken, msgpack.packb([WELL]), msgpack.packb({"node": "n"})):
        assert read_blob("n", blob, alive=True) is None


def test_an_order_is_read_as_it_was_given() -> None:
    assert read_order(write_order("drain", {"since_ms": 1})) == ("drain", {"since_ms": 1})
    for nonsense in (b"", b"\xc1", b"\x01", b"\x91\x01"):
        assert read_order(nonsense) == ("", None)
