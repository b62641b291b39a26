"""A task that moves, or is over, before its agent was typed it: neither it nor its notice is typed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from noval_d.delivery.standing import MOVED, NEVER_TYPED, OVER
from tests.faults.test_two_nodes import neighbour
from tests.integration.test_tasks import add, reaches
from tests.support.agents import Raw, raw
from tests.support.doers import doer
from tests.support.node import TestNode, node, until
from tests.support.pair import pair


def reading(made: TestNode, agent: Raw) -> None:
    """Somebody reads in an agent's pane: what comes for it waits, and it is idle all the same."""
    made.tmux.tmux("copy-mode", "-t", agent.pane)


def waits(made: TestNode, agent: str, task: str) -> str:
    """Wait until a task is an agent's and its message is held; return that message."""
    found = reaches(made, task, "assigned")
    assert found["agent"] == agent
    until(lambda: [row["state"] for row in made.call("inbox", {"agent": agent})] == ["held"], 45, "the hold")
    (row,) = made.call("inbox", {"agent": agent})
    return str(row["id"])


def untyped(made: TestNode, message: str) -> str:
    found = made.wait_state(message, "failed")
    assert "typed" not in [hop["state"] for hop in made.call("trace", {"id": message})["hops"]]
    return str(found["reason"])


@pytest.mark.parametrize("move", ["reassign", "cancel", "done"])
def test_what_was_not_typed_yet_never_is(tmp_path: Path, move: str) -> None:
    with node() as made:
        old = raw(made, tmp_path, "old")
        reading(made, old)
        task = add(made, "sweep the yard")
        message = waits(made, "old", task)
        if move == "reassign":
            new = doer(made, tmp_path, "new")
            made.call("task_reassign", {"id": task, "to": "new"})
            assert reaches(made, task, "done")["agent"] == "new"
            assert new.lines("told") == [task]
        elif move == "cancel":
            made.call("task_cancel", {"id": task})
        else:
            made.call("task_done", {"id": task, "result": "a person did it"})
        if move == "done":
            made.tmux.tmux("copy-mode", "-q", "-t", old.pane)
            assert untyped(made, message) == OVER
        else:
            assert untyped(made, message) in (MOVED, OVER)  # while somebody still reads there
            until(lambda: len(made.call("inbox", {"agent": "old"})) == 2, 45, "the notice")
            (notice,) = [row["id"] for row in made.call("inbox", {"agent": "old"}) if row["id"] != message]
            assert untyped(made, notice) == NEVER_TYPED
            made.tmux.tmux("copy-mode", "-q", "-t", old.pane)
        made.send_wait("old", "the end")
        assert b"sweep" not in old.bytes()


def test_a_task_that_moves_to_another_node_is_withdrawn_from_this_one(tmp_path: Path) -> None:
    with node() as made, neighbour(made) as other:
        old = raw(made, tmp_path, "old")
        reading(made, old)
        task = add(made, "sweep the yard")
        message = waits(made, "old", task)
        doer(other, tmp_path, "new")
        assert made.process is not None
        made.process.send_signal(signal.SIGSTOP)  # it hears of the move when the task is over already
        other.call("task_reassign", {"id": task, "to": "new"})
        assert reaches(other, task, "done")["agent"] == "new"
        made.process.send_signal(signal.SIGCONT)
        assert untyped(made, message) in (MOVED, OVER)
        made.tmux.tmux("copy-mode", "-q", "-t", old.pane)
        made.send_wait("old", "the end")
        assert b"sweep" not in old.bytes()


def test_a_task_that_is_cancelled_while_its_node_has_no_broker_is_withdrawn_when_it_is_back() -> None:
    with pair() as both:
        reading(both.far, both.there)
        both.near.call("pause", {"agent_id": "here"})
        task = add(both.near, "sweep the yard")
        message = waits(both.far, "there", task)
        both.far_way.refuse()
        until(lambda: both.far.call("status")["broker"]["state"] == "down", 45, "the loss")
        both.near.call("task_cancel", {"id": task})
        both.far_way.listen()
        assert untyped(both.far, message) == OVER
        both.far.tmux.tmux("copy-mode", "-q", "-t", both.there.pane)
        both.far.send_wait("there", "the end")
        assert both.there.bytes() == b"the end\r"
