"""A foreign task whose assignee changes: what the old agent was not typed yet, it never is, on one node or two."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from noval_d.delivery.standing import MOVED, NEVER_TYPED
from tests.faults.test_two_nodes import neighbour
from tests.support.agents import Raw, raw
from tests.support.foreign import Cli, bridging, cli_of
from tests.support.node import TestNode, until

TASKS, EVENTS = "nova:task:boomerang:tasks", "nova:task:boomerang:events"
BOOMERANG = '[bridges]\ndialects = ["boomerang"]\n'


@pytest.fixture
def made() -> Iterator[TestNode]:
    with bridging(BOOMERANG) as node:
        until(lambda: cli_of(node)("EXISTS", TASKS) == 1, 45, "the group of tasks")
        yield node


def waiting(node: TestNode, agent: str) -> list[str]:
    """Ids of what waits for an agent in its node's hands."""
    rows = node.call("inbox", {"agent": agent})
    return [row["id"] for row in rows if row["state"] in ("accepted", "queued", "held")]


def untyped(node: TestNode, message: str) -> str:
    """The reason for which a message was never typed, as `trace` tells it."""
    found = node.wait_state(message, "failed")
    assert "typed" not in [hop["state"] for hop in node.call("trace", {"id": message})["hops"]]
    return str(found["reason"])


def statuses(cli: Cli) -> list[tuple[str, str]]:
    """Who said what of a task in the stream of events, in order."""
    return [(e["_source"], json.loads(e["details"])["status"]) for e in cli.entries(EVENTS)]


@pytest.mark.parametrize(
    ("change", "priority"),
    [({"assignee": "new"}, "medium"), ({"assignee": ""}, "low"), ({"status": "cancelled"}, "critical")],
)
def test_a_task_that_moves_while_its_agent_is_paused_is_never_typed_into_it(
    made: TestNode, tmp_path: Path, change: dict[str, str], priority: str
) -> None:
    old, new, cli = raw(made, tmp_path, "old"), raw(made, tmp_path, "new"), cli_of(made)
    made.call("pause", {"agent_id": "old"})
    cli.add(TASKS, operation="create_task", title="sweep", task_id="T", assignee="old", priority=priority)
    until(lambda: len(waiting(made, "old")) == 1, what="the first task")
    (task,) = waiting(made, "old")
    cli.add(TASKS, operation="create_task", title="stays", task_id="S", assignee="old", priority=priority)
    until(lambda: len(waiting(made, "old")) == 2, what="both tasks")
    (stays,) = set(waiting(made, "old")) - {task}
    cli.add(TASKS, operation="update_task", task_id="T", **change)
    assert untyped(made, task) == MOVED  # while its agent is still paused
    until(lambda: waiting(made, "old") == [stays], what="the notice is gone too")
    (notice,) = [row for row in made.call("inbox", {"agent": "old"}) if row["id"] not in (task, stays)]
    assert untyped(made, notice["id"]) == NEVER_TYPED
    if change.get("assignee"):
        until(lambda: b"sweep" in new.bytes(), what="the task at its new agent")
    made.call("resume", {"agent_id": "old"})
    made.send_wait("old", "the end")
    assert b"stays" in old.bytes()
    assert b"sweep" not in old.bytes()
    assert ("old", "blocked") not in statuses(cli)


def test_a_task_that_comes_back_to_the_agent_that_had_it_is_typed_once(
    made: TestNode, tmp_path: Path
) -> None:
    old, cli = raw(made, tmp_path, "old"), cli_of(made)
    made.call("pause", {"agent_id": "old"})
    cli.add(TASKS, operation="create_task", title="sweep", task_id="T", assignee="old")
    until(lambda: len(waiting(made, "old")) == 1, what="the task")
    first = waiting(made, "old")[0]
    cli.add(TASKS, operation="update_task", task_id="T", assignee="")
    assert untyped(made, first) == MOVED
    cli.add(TASKS, operation="update_task", task_id="T", assignee="old")
    until(lambda: len(waiting(made, "old")) == 1, what="the task again")
    made.call("resume", {"agent_id": "old"})
    until(lambda: ("old", "in_progress") in statuses(cli), what="the word of its agent")
    made.send_wait("old", "the end")
    assert old.bytes().count(b"sweep") == 1


@pytest.fixture
def pair(made: TestNode, tmp_path: Path) -> Iterator[tuple[TestNode, Raw, TestNode, Raw]]:
    """Two nodes with the bridge, an agent on each: `near` and `far`."""
    with neighbour(made, NOVA_TORCH_CONFIG=made.env["NOVA_TORCH_CONFIG"]) as other:
        yield made, raw(made, tmp_path, "near"), other, raw(other, tmp_path, "far")


def test_a_task_that_moves_to_an_agent_of_another_node_is_told_of_by_that_one(
    pair: tuple[TestNode, Raw, TestNode, Raw],
) -> None:
    made, near, other, far = pair
    cli = cli_of(made)
    cli.add(TASKS, operation="create_task", title="carry it", task_id="T", assignee="near")
    cli.wait_entries(TASKS, 1, operation="update_task", _source="near")
    cli.add(TASKS, operation="update_task", task_id="T", assignee="far")
    cli.wait_entries(TASKS, 1, operation="update_task", _source="far")
    until(lambda: b"was given to far" in near.bytes(), what="the notice")
    cli.add(TASKS, operation="update_task", task_id="T", assignee="near")
    until(lambda: b"was given to near" in far.bytes(), what="the notice back")
    until(lambda: statuses(cli).count(("near", "in_progress")) == 2, what="the word of the first again")
    made.send_wait("near", "the end")
    other.send_wait("far", "the end")
    assert statuses(cli) == [(who, "in_progress") for who in ("near", "far", "near")]
    assert (near.bytes().count(b"carry it"), far.bytes().count(b"carry it")) == (3, 2)  # tasks and notices


def test_a_task_that_moves_while_its_agents_node_is_down_is_not_typed_when_that_is_back(
    pair: tuple[TestNode, Raw, TestNode, Raw],
) -> None:
    made, near, other, far = pair
    cli = cli_of(made)
    other.kill()
    cli.add(TASKS, operation="create_task", title="carry it", task_id="T", assignee="far")
    until(lambda: sent(made), what="the task in the mailbox")
    (task,) = sent(made)
    cli.add(TASKS, operation="update_task", task_id="T", assignee="near")
    until(lambda: b"carry it" in near.bytes(), what="the task at its new agent")
    until(lambda: len(sent(made)) == 2, what="the notice behind it")
    other.start()
    other.wait_up()
    assert untyped(made, task) == MOVED
    other.send_wait("far", "the end", timeout_s=60)
    assert b"carry it" not in far.bytes()
    assert statuses(cli) == [("near", "in_progress")]


def sent(node: TestNode) -> list[str]:
    """Ids of what this node has put into the mailbox of `far`."""
    rows: list[dict[str, Any]] = node.call("history", {"agent": "far"})
    return [row["id"] for row in rows if row["state"] == "queued"]
