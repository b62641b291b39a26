"""Groups: what is read from a target, who is left out, and who of several gets what one is to get."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nova_torch.communication.group import Group, choose, is_group, least_loaded, parse_group
from nova_torch.errors import AgentNotFound, InvalidRequest
from nova_torch.fleet import NodeView
from nova_torch.nodes import Drain, Load, NodeCard
from nova_torch.quorum import count
from nova_torch.values import AgentId, AgentRecord, AgentState, NodeId


def agent(name: str, *, state: str = "idle", queued: int = 0, role: str = "r") -> AgentRecord:
    return AgentRecord(
        agent_id=AgentId(name), role=role, skills=("py",), node=NodeId("n"), driver="line", pane="%1",
        session="s", window="w", state=AgentState(state), state_since_ms=1, queued=queued, last_seen_ms=1,
    )  # fmt: skip


def node(name: str, *agents: AgentRecord, cpu: float = 0.0, draining: bool = False) -> NodeView:
    there = tuple(replace(each, node=NodeId(name)) for each in agents)
    card = NodeCard(load=Load(cpu_percent=cpu), drain=Drain(since_ms=1) if draining else None)
    return NodeView(node=name, alive=True, agents=there, card=card)


@pytest.mark.parametrize(
    ("target", "group"),
    [
        ("all", Group()),
        ("role:dev", Group(role="dev")),
        ("skill:py,skill:sql", Group(skills=("py", "sql"))),
        ("role:dev, skill:py, node:eu-1, label:zone=eu", Group(
            role="dev", skills=("py",), node="eu-1", labels=("zone=eu",)
        )),
    ],
)  # fmt: skip
def test_a_group_is_read(target: str, group: Group) -> None:
    assert is_group(target)
    assert parse_group(target) == group
    assert parse_group(str(group)) == group


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("role:", "'role:' is no part of a group. Write it like role:reviewer"),
        ("role:a,role:b", "two roles"),
        ("node:a,node:b", "two nodes"),
        ("role:a,all", "no part of a group"),
        ("role:a,skil:py", "Did you mean skill"),
        ("role:a,", "no part of a group"),
    ],
)
def test_a_group_that_is_none_is_refused(target: str, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        parse_group(target)


def test_who_is_away_is_left_out_unless_it_may_wait() -> None:
    views = [node("n", agent("a"), agent("b", state="lost"), agent("c", state="exited"), agent("d"))]
    chosen = choose(Group(role="r"), views, sender="d")
    assert [each.agent_id for each in chosen.members] == ["a"]
    assert [each.agent_id for each in chosen.offline] == ["b", "c"]
    everybody = choose(Group(role="r"), views, sender="d", offline=True)
    assert [each.agent_id for each in everybody.members] == ["a", "b", "c"]
    with pytest.raises(AgentNotFound, match=r"everybody in role:r is away: b, c\. .*--queue-offline"):
        choose(Group(role="r"), [node("n", agent("b", state="lost"), agent("c", state="exited"))], sender="")
    with pytest.raises(AgentNotFound, match=r"away: b\. To have it wait for one of them, name that one"):
        choose(Group(role="r"), [node("n", agent("b", state="lost"))], sender="", one=True)
    with pytest.raises(AgentNotFound, match=r"nobody has the skill 'pi'\. Did you mean py"):
        choose(Group(skills=("pi",)), views, sender="")


def test_one_of_several_is_the_idle_one_with_least_to_do() -> None:
    def chosen(*views: NodeView) -> str:
        return least_loaded(choose(Group(), views, sender=""), views).agent_id

    assert chosen(node("n", agent("a", state="busy"), agent("b", queued=1), agent("c"))) == "c"
    assert chosen(node("n", agent("a"), cpu=90), node("m", agent("b"), cpu=10)) == "b"
    assert chosen(node("n", agent("a"), draining=True), node("m", agent("b", state="busy"))) == "b"
    assert chosen(node("n", agent("a", state="busy", queued=2), agent("b", state="busy", queued=1))) == "b"
    assert chosen(node("n", agent("b"), agent("a"))) == "a"


def test_a_quorum_is_decided_as_soon_as_it_is_there_or_cannot_be_any_more() -> None:
    def decided(states: str, wait: str, least: int) -> bool:
        final = ("failed", "acknowledged", "submitted")
        return count([(state, state in final) for state in states.split()], wait).decided(least)

    assert not decided("acknowledged held failed", "acknowledged", 2)
    assert decided("acknowledged acknowledged held", "acknowledged", 2)
    assert decided("acknowledged failed failed", "acknowledged", 2)
    assert decided("submitted typed", "submitted", 1)
    assert decided("submitted held", "acknowledged", 2), "who reports nothing will not get there"
    assert not decided("submitted held", "replied", 2), "it may still answer"
    assert not decided("acknowledged held held", "acknowledged", 2)
