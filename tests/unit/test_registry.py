"""Find agents: all that is asked must match, pages hold together, and who finds nobody is told why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nova_torch.fleet import Gathered, NodeView, Roll, everybody
from nova_torch.nodes import Drain, NodeCard
from nova_torch.registry import Query, changes, find, page_of, why_none
from nova_torch.values import AgentId, AgentRecord, AgentState, NodeId


def agent(
    name: str, *skills: str, role: str = "", node: str = "eu", state: str = "idle", queued: int = 0
) -> AgentRecord:
    return AgentRecord(
        agent_id=AgentId(name), role=role, skills=skills, node=NodeId(node), driver="line", pane="%1",
        session="s", window="w", state=AgentState(state), state_since_ms=1, queued=queued, last_seen_ms=1,
    )  # fmt: skip


FLEET = (
    NodeView(
        node="eu", alive=True, card=NodeCard(labels=("zone=eu", "gpu")),
        agents=(
            agent("a", "python", "sql", role="reviewer"),
            agent("b", "python", role="builder", state="busy"),
            agent("c", "rust", queued=2),
        ),
    ),
    NodeView(
        node="us", alive=True, card=NodeCard(labels=("zone=us", "gpu=a100"), drain=Drain(since_ms=1)),
        agents=(agent("d", "python", role="reviewer", node="us"),),
    ),
    NodeView(node="gone", alive=False, agents=(agent("e", "cobol", role="reviewer", node="gone"),)),
)  # fmt: skip


@pytest.mark.parametrize(
    ("query", "names"),
    [
        (Query(), "abcde"),
        (Query(role="reviewer"), "ade"),
        (Query(skills=("python",)), "abd"),
        (Query(skills=("python", "sql")), "a"),
        (Query(node="us"), "d"),
        (Query(labels=("gpu",)), "abcd"),
        (Query(labels=("gpu=a100",)), "d"),
        (Query(labels=("zone=eu", "gpu")), "abc"),
        (Query(state="busy"), "b"),
        (Query(state="lost"), "e"),
        (Query(free=True), "a"),
        (Query(free=True, role="builder"), ""),
    ],
)
def test_all_that_is_asked_must_match(query: Query, names: str) -> None:
    assert "".join(record.agent_id for record in find(FLEET, query)) == names


def test_agents_are_in_the_order_of_their_names_however_nodes_tell_of_them() -> None:
    views = [
        NodeView(node="x", alive=True, agents=(agent("c", node="x"), agent("a", node="x", state="busy"))),
        NodeView(node="y", alive=True, agents=(agent("d", node="y", state="busy"), agent("B", node="y"))),
    ]
    assert [r.agent_id for r in find(views, Query())] == ["B", "a", "c", "d"]
    assert [r.agent_id for r in find(views, Query(state="busy"))] == ["a", "d"]


@pytest.mark.parametrize("query", [Query(state="lost"), Query(node="old"), Query(role="reviewer")])
def test_who_lives_elsewhere_by_now_is_not_found_as_it_was(query: Query) -> None:
    old = NodeView(node="old", alive=False, last_seen_ms=9, agents=(agent("a", role="reviewer", node="old"),))
    new = NodeView(node="new", alive=True, last_seen_ms=1, agents=(agent("a", role="tester", node="new"),))
    assert len(find([old], query)) == 1
    assert find([new, old], query) == find([old, new], query) == []


def test_agents_that_are_kept_gathered_are_those_that_are_there_at_each_look() -> None:
    def view(node: str, *agents: AgentRecord, alive: bool = True, seen: int = 1) -> NodeView:
        return NodeView(node=node, alive=alive, last_seen_ms=seen, agents=Roll(agents))

    a, b, c, d = (agent(name, node="x") for name in "abcd")
    x, y = view("x", b, a), view("y", d, c)
    busy = replace(a, state=AgentState.BUSY)
    looks = [
        [x, y],
        [x, y],
        [x, y],
        [view("x", b, busy), y],  # one changed
        [view("x", busy, b), y],  # in another order
        [view("x", b, busy, alive=False), y],  # its lease is over
        [x, y],
        [view("x", a), y],  # one left
        [view("x", a, replace(b, agent_id=AgentId("e"))), y],  # one came
        [view("x", a, replace(b, agent_id=AgentId("f"))), y],  # as many as before, another name
        [view("x", a), view("y", b, c, d)],  # one moved
        [view("x", b), view("y", a, c, d)],
        [view("x", a, b), view("y", a, d, seen=2)],  # two nodes name one
        [view("x", a, b, seen=3), view("y", replace(a, queued=4), d, seen=2)],  # the other beat last
        [view("x", a, b, alive=False, seen=3), view("y", replace(a, queued=4), d, seen=2)],
        [view("x", b, alive=False, seen=3), view("y", replace(a, queued=4), d, seen=2)],
        [view("x", b, alive=False, seen=3), view("y", replace(a, queued=5), d, seen=2)],
        [y],
        [x, y, view("z", agent("g", node="z"))],
        [x, view("x", c), y],  # nobody should be there twice
        [x, view("x", replace(c, queued=7)), view("y", d)],
        [],
        [NodeView(node="x", alive=True, agents=(a, b))],
        [NodeView(node="x", alive=True, agents=(busy, b))],
    ]
    gathered = Gathered()
    for number, views in enumerate(looks):
        assert list(gathered.records(views)) == everybody(views), number
        for query in (Query(), Query(state="busy"), Query(node="x"), Query(free=True)):
            assert list(find(views, query, gathered)) == list(find(views, query)), number
    assert repr(gathered) == "<Gathered 2 agents of 1 nodes>"


@pytest.mark.parametrize(
    ("query", "why", "cure"),
    [
        (Query(role="reviwer"), "nobody has the role 'reviwer'.", "Did you mean reviewer?"),
        (Query(skills=("python", "pyhton")), "nobody has the skill 'pyhton'.", "Did you mean python?"),
        (Query(skills=("go", "ada", "sql")), "nobody has the skill 'go' or 'ada'.", "See them all"),
        (Query(skills=("sql", "rust")), "nobody has all of sql, rust.", "a has sql, not rust."),
        (Query(node="goner"), "there is no node 'goner'.", "Did you mean gone?"),
        (Query(labels=("zone=uk",)), "no node has the label 'zone=uk'.", "Did you mean zone="),
        (Query(role="builder", state="idle"), "nobody matches all of it.", "See them all"),
    ],
)
def test_who_finds_nobody_is_told_what_nobody_has(query: Query, why: str, cure: str) -> None:
    assert find(FLEET, query) == []
    said, helps = why_none(FLEET, query)
    assert said == why
    assert helps.startswith(cure)


def test_pages_hold_together_whoever_comes_and_goes() -> None:
    found = [agent(f"a{n:02}") for n in range(10)]
    page, following = page_of(found, after=None, limit=4)
    assert ([r.agent_id for r in page], following) == (["a00", "a01", "a02", "a03"], "a03")
    shrunk = [r for r in found if r.agent_id not in ("a01", "a03")]
    page, following = page_of(shrunk, after=following, limit=4)
    assert ([r.agent_id for r in page], following) == (["a04", "a05", "a06", "a07"], "a07")
    page, following = page_of(shrunk, after=following, limit=4)
    assert ([r.agent_id for r in page], following) == (["a08", "a09"], None)
    assert page_of(shrunk, after="zzz", limit=4) == ([], None)
    assert page_of([], after=None, limit=4) == ([], None)


def test_what_happens_to_agents_is_told_as_what_it_is() -> None:
    idle, busy = agent("a"), agent("a", state="busy")
    lost = replace(idle, state=AgentState.LOST)
    moved = replace(idle, node=NodeId("us"), state=AgentState.BUSY)

    def between(old: AgentRecord | None, new: AgentRecord | None) -> list[str]:
        found = changes({"a": old} if old else {}, {"a": new} if new else {})
        return [change.event for change in found]

    assert between(None, idle) == ["joined"]
    assert between(idle, None) == ["left"]
    assert between(idle, busy) == ["changed"]
    assert between(idle, lost) == ["lost"]
    assert between(lost, idle) == ["back"]
    assert between(lost, moved) == ["moved"]
    assert between(idle, replace(idle, last_seen_ms=99)) == []
    told = changes({"a": lost}, {"a": moved})[0].to_json()
    assert (told["event"], told["node"], told["before"]) == ("moved", "us", {"state": "lost", "node": "eu"})
