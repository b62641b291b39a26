"""Which node something new goes to, and why."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from nova_torch.errors import Conflict, NotFound
from nova_torch.fleet import NodeView
from nova_torch.nodes import Drain, Load, NodeCard
from nova_torch.placement import place
from nova_torch.values import AgentId, AgentRecord, AgentState, NodeId
from noval_d.fleet.spawning import spawn_there
from noval_d.life.wish import Wish
from tests.support.aio import run


def record(name: str, node: str, role: str) -> AgentRecord:
    return AgentRecord(
        agent_id=AgentId(name), role=role, skills=(), node=NodeId(node), driver="line", pane="", session="",
        window="", state=AgentState.IDLE, state_since_ms=0, queued=0, last_seen_ms=0, current_task="",
    )  # fmt: skip


def view(
    name: str, *roles: str, cpu: float | None = 10.0, most: int = 0, labels: tuple[str, ...] = (),
    alive: bool = True, errors: tuple[str, ...] = (), drains: bool = False, queue: float | None = None,
) -> NodeView:  # fmt: skip
    return NodeView(
        node=name,
        alive=alive,
        agents=tuple(record(f"{name}-{n}", name, role) for n, role in enumerate(roles)),
        card=NodeCard(
            labels=labels,
            max_agents=most,
            errors=errors,
            drain=Drain(since_ms=1) if drains else None,
            load=Load(cpu_percent=cpu, load_1m=queue, cores=2),
        ),
    )


def test_an_agent_goes_where_there_are_fewest_of_its_role_then_where_there_is_least_to_do() -> None:
    views = [view("a", "worker", cpu=0), view("b", cpu=60), view("c", cpu=20), view("d", cpu=None)]
    placed = place(views, role="worker")
    assert [one.node for one in placed.candidates] == ["c", "b", "d", "a"]
    assert placed.node == "c"
    assert placed.why == "0 of the role there, 20 % busy, 0 agents; best of 4"
    assert place(views, role="other").node == "a"  # the least busy: none of that role is anywhere
    assert place(views, role="worker", coming={"c": 1, "b": 1}).node == "d"
    assert place([view("a", cpu=5, queue=9.0), view("b", cpu=60)], role="w").node == "b"
    assert place([view("a", errors=("tmux_absent",), cpu=0), view("b", cpu=90)], role="w").node == "b"


def test_only_nodes_with_the_labels_free_room_and_a_lease_are_taken() -> None:
    views = [
        view("dead", alive=False, labels=("gpu",)),
        view("full", "x", most=1, labels=("gpu",)),
        view("drains", drains=True, labels=("gpu",)),
        view("plain"),
        view("right", cpu=95, labels=("gpu", "zone=eu")),
    ]
    placed = place(views, role="w", labels=["gpu", "zone=eu"])
    assert placed.node == "right"
    assert {one.node: one.why for one in placed.candidates if not one.fits} == {
        "full": "has no label zone=eu",
        "drains": "is draining",
        "plain": "has no label gpu, zone=eu",
    }
    with pytest.raises(
        Conflict, match=r"full is full \(1 agents at most\); right failed lately: no template"
    ):
        place(views, role="w", labels=["gpu"], avoid={"right": "no template"})
    with pytest.raises(NotFound, match="no node has the label gqu") as error:
        place(views, role="w", labels=["gqu"])
    assert error.value.hint == "Did you mean gpu?"


def test_a_node_that_is_named_is_taken_or_it_is_said_why_not() -> None:
    views = [view("eu-1", most=1), view("eu-2", drains=True)]
    assert place(views, role="w", node="eu-1").why == "it was named"
    with pytest.raises(Conflict, match="eu-2 is draining"):
        place(views, role="w", node="eu-2")
    with pytest.raises(Conflict, match="eu-1 is full"):
        place(views, role="w", node="eu-1", coming={"eu-1": 1})
    with pytest.raises(NotFound) as error:
        place(views, role="w", node="eu1")
    assert error.value.hint == "Did you mean eu-1?"


def test_what_is_known_of_the_fleet_is_old_with_each_step_of_a_start_elsewhere() -> None:
    told: list[str] = []

    async def follow(*_: object) -> AsyncIterator[dict[str, Any]]:
        for step in ("started", "ready"):
            yield {"step": step}

    node = SimpleNamespace(
        asks=SimpleNamespace(follow=follow), others=SimpleNamespace(stale=lambda: told.append("old"))
    )

    async def scenario() -> None:
        async for step in spawn_there(cast("Any", node), "n", "id", Wish(name="worker")):
            told.append(step["step"])  # noqa: PERF401 - in its order among the others

    run(scenario())
    assert told == ["old", "started", "old", "ready"]
