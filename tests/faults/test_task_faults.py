"""Tasks while things die: daemons at each step, the broker's data, a node for good, and a record that is forged."""

from __future__ import annotations

import contextlib
import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nova_torch.broker import Broker
from nova_torch.errors import BrokerUnavailable, Busy, Conflict, DaemonUnreachable, NotAllowed, NotOwner
from nova_torch.keys import Keys
from nova_torch.ulid import new_ulid
from nova_torch.values import NodeId
from noval_d.tasks.task import Task, TaskId, pack, unpack
from tests.faults.test_two_nodes import neighbour
from tests.support.aio import run
from tests.support.attacker import KEY_LINE
from tests.support.broker import ask
from tests.support.doers import Doer, doer
from tests.support.node import TestNode, node, until

SHORT = {"NOVA_BROKER_LEASE_S": "2", "NOVA_BROKER_BEAT_S": "0.5"}


def add(on: TestNode, title: str = "a task", **more: Any) -> str:
    return str(on.call("task_add", {"title": title, "anyway": True, **more})["id"])


def shown(on: TestNode, task: str) -> dict[str, Any]:
    return dict(on.call("task_show", {"id": task}))


def reaches(on: TestNode, task: str, state: str, timeout_s: float = 40.0) -> dict[str, Any]:
    until(
        lambda: shown(on, task)["state"] == state, timeout_s, f"{state}: {shown(on, task)} {on.log()[-2000:]}"
    )
    return shown(on, task)


@pytest.fixture(scope="module")
def stage() -> Any:
    with node() as made:
        yield made


@pytest.mark.parametrize(
    "step",
    ["task.before", "task.after", "accept.before", "accept.after", "task.before=kill@2", "task.after=kill@2"],
)
def test_a_daemon_killed_as_it_gives_a_task_gives_it_once(stage: TestNode, tmp_path: Path, step: str) -> None:
    agent = doer(stage, tmp_path, f"worker-{new_ulid()[-5:]}")
    stage.call("pause", {"agent_id": agent.name})
    task = add(stage)
    stage.stop()
    stage.env["NOVA_FAILPOINTS"] = step if "=" in step else f"{step}=kill"
    stage.start()
    stage.wait_up()
    with contextlib.suppress(DaemonUnreachable):  # it may die before it has answered
        stage.call("resume", {"agent_id": agent.name})
    assert stage.process is not None
    assert stage.process.wait(20) == -signal.SIGKILL
    del stage.env["NOVA_FAILPOINTS"]
    stage.start()
    stage.wait_up()
    found = reaches(stage, task, "done")
    until(lambda: agent.lines("done"), 45, "the agent's own word that it is done")
    assert (agent.lines("told"), agent.lines("done")) == ([task], [task])
    assert found["attempt"] == 1
    stage.call("unregister", {"agent_id": agent.name})


def test_tasks_survive_the_loss_of_the_brokers_data(tmp_path: Path) -> None:
    with node(env=SHORT) as made:
        holds = doer(made, tmp_path, "holds", "--hold")
        held = add(made, "held")
        until(lambda: holds.lines("told") == [held], 45, "the task")
        waits = add(made, "waits", depends_on=[held])
        ended = add(made, "ended", role="nobody")
        made.call("task_cancel", {"id": ended})
        ask(f"{made.state}/broker/broker.sock", "FLUSHALL")
        until(lambda: _knows(made, held, waits, ended), 45, "the tasks")
        assert (shown(made, held)["agent"], shown(made, held)["attempt"]) == ("holds", 1)
        assert shown(made, waits)["state"] == "waiting"
        assert shown(made, ended)["state"] == "cancelled"
        made.call("task_done", {"id": held, "result": "still there"})
        until(lambda: holds.lines("told") == [held, waits], 45, "the next task")
        made.kill()
        ask(f"{made.state}/broker/broker.sock", "FLUSHALL")  # while nobody is there to see it
        made.start()
        made.wait_up()
        until(lambda: _knows(made, held, waits), 45, "the tasks")
        assert (shown(made, waits)["agent"], shown(made, held)["result"]) == ("holds", "still there")


LATE = {"NOVA_BROKER_LEASE_S": "30", "NOVA_BROKER_BEAT_S": "10"}
SOON = {"NOVA_BROKER_LEASE_S": "30", "NOVA_BROKER_BEAT_S": "0.3"}


def test_a_node_that_notices_the_loss_last_gives_no_task_that_it_knows_to_be_done(tmp_path: Path) -> None:
    """Another node puts back what it knows: that the task was added. This one has written down that it was done."""
    with node(env=LATE) as first, neighbour(first, **SOON) as second:
        works = doer(first, tmp_path, "works")
        task = add(second)
        reaches(second, task, "done")
        ask(f"{first.state}/broker/broker.sock", "FLUSHALL")
        until(lambda: _knows(second, task), 45, "the task")
        reaches(second, task, "done")
        first.call("pause", {"agent_id": "works"})
        again = add(second, "not yet")
        with pytest.raises(Busy, match="put back what it may have lost"):
            first.call("task_claim", {"id": again, "pane": works.pane})
        assert works.lines("told") == [task]
        assert [step["what"] for step in shown(second, task)["steps"]] == ["added", "assigned", "done"]


def test_a_node_that_is_not_in_the_registry_again_keeps_its_tasks(tmp_path: Path) -> None:
    """The broker was wiped, and another node has put back that the task is with an agent of that node."""
    with (
        node(env=SOON) as first,
        neighbour(first, **LATE) as second,
        neighbour(first, **SOON, NOVA_NODE="third") as third,
    ):
        holds = doer(second, tmp_path, "holds", "--hold")
        task = add(first)
        until(lambda: holds.lines("told") == [task], 45, "the task")
        third.call("task_update", {"id": task, "note": "seen"})
        ask(f"{first.state}/broker/broker.sock", "FLUSHALL")
        until(lambda: _knows(third, task) and _lists(third, "test-node"), 45, "the task, and the first node")
        until(lambda: _lists(third, "other"), 45, "the node of its agent")
        told = shown(third, task)
        assert [step["what"] for step in told["steps"]] == ["added", "assigned", "updated"]
        assert (told["state"], told["agent"], holds.lines("told")) == ("assigned", "holds", [task])


def _lists(on: TestNode, name: str) -> bool:
    return name in [row["node"] for row in on.call("node_list")]


def _knows(on: TestNode, *tasks: str) -> bool:
    try:
        return {*tasks} <= {row["id"] for row in on.call("task_list", {"all": True})}
    except BrokerUnavailable:  # it connects anew
        return False


def test_the_tasks_of_a_node_that_is_gone_are_given_to_others_and_it_is_fenced(tmp_path: Path) -> None:
    with node(env=SHORT) as first, neighbour(first, **SHORT) as second:
        lost = doer(second, tmp_path, "lost", "--hold")
        task = add(first, "for whoever lives")
        until(lambda: lost.lines("told") == [task], 45, "the task")
        second.kill()
        lives = doer(first, tmp_path, "lives")
        found = reaches(first, task, "done")
        assert (found["agent"], found["attempt"]) == ("lives", 2)
        until(lambda: lives.lines("done") == [task], 45, "its own word")
        second.start()
        until(lambda: second.call("status")["broker"]["state"] == "up", 45, "the second node")
        with pytest.raises(Conflict, match="is done"):
            second.call("task_done", {"id": task, "result": "late", "pane": lost.pane})
        assert shown(first, task)["result"].startswith("by pid")


def test_an_agent_hears_that_its_task_was_cancelled_while_its_daemon_was_down(tmp_path: Path) -> None:
    with node(env=SHORT) as first, neighbour(first, **SHORT) as second:
        holds = doer(second, tmp_path, "holds", "--hold")
        task = add(first, "cancelled")
        until(lambda: holds.lines("told") == [task], 45, "the task")
        second.kill()
        first.call("task_cancel", {"id": task, "reason": "no need"})
        second.start()
        until(lambda: notices(second, "holds") == [f"{task} it was cancelled: no need"], 45, "the notice")
        second.kill()
        second.start()
        after = add(first, "the next one")
        until(
            lambda: holds.lines("told") == [task, after], 45, "the next task: it has looked at what was taken"
        )
        assert notices(second, "holds") == [f"{task} it was cancelled: no need"]


def test_an_agent_whose_node_was_cut_off_hears_that_another_one_has_its_task(tmp_path: Path) -> None:
    with node(env=SHORT) as first, neighbour(first, **SHORT) as second:
        holds = doer(second, tmp_path, "holds", "--hold")
        task = add(first, "for one")
        until(lambda: holds.lines("told") == [task], 45, "the task")
        lives = doer(first, tmp_path, "lives", "--hold")
        assert second.process is not None
        second.process.send_signal(signal.SIGSTOP)
        until(lambda: lives.lines("told") == [task], 45, "the other one")
        second.process.send_signal(signal.SIGCONT)
        until(lambda: notices(second, "holds") == [f"{task} node other is not heard of"], 45, "the notice")


def notices(on: TestNode, agent: str) -> list[str]:
    """Return which tasks an agent was told it has no longer, and why."""
    bodies = [str(row["body"]) for row in on.call("inbox", {"agent": agent})]
    found = (re.match(r"Task (\w+) .* is not yours any more: (.*)\. Stop", body) for body in bodies)
    return [f"{each[1]} {each[2]}" for each in found if each]


def test_who_was_started_elsewhere_has_its_tasks_there_and_its_old_pane_has_none(tmp_path: Path) -> None:
    """The lost node comes back with the agent's old pane: it neither takes a task for it nor takes one back."""
    with node(env=SHORT) as first, neighbour(first, **SHORT) as second:
        for folder in ("old", "new"):
            (tmp_path / folder).mkdir()
        old = doer(second, tmp_path / "old", "twin")
        second.kill()

        def again() -> Doer | None:
            with contextlib.suppress(Conflict, NotOwner):
                return doer(first, tmp_path / "new", "twin")
            return None

        new = until(again, 45, "the end of its lease")
        second.start()
        second.wait_up()
        until(lambda: "served by node test-node." in str(second.call("status")["health"]), 45, "it fenced")
        tasks = [add(second, f"task {n}", role="worker") for n in range(3)]
        for task in tasks:
            assert reaches(first, task, "done")["attempt"] == 1
        assert (sorted(new.lines("told")), old.lines("told")) == (sorted(tasks), [])
        first.call("pause", {"agent_id": "twin"})
        task = add(second, role="worker")
        claimed = first.call("task_claim", {"id": task, "pane": new.pane})
        assert claimed["attempt"] == 1
        with pytest.raises(NotAllowed, match="that of twin of node test-node"):
            second.call("task_done", {"id": task, "pane": old.pane})
        assert shown(second, task)["state"] == "assigned"
        assert first.call("task_done", {"id": task, "pane": new.pane})["state"] == "done"


def test_a_task_that_no_node_of_the_fleet_wrote_is_not_given(tmp_path: Path) -> None:
    keys = tmp_path / "fleet-keys"
    keys.touch(0o600)
    keys.write_text(KEY_LINE)
    with node(env={"NOVA_SIGNING_MODE": "require", "NOVA_SIGNING_KEY_FILE": str(keys)}) as made:
        agent = doer(made, tmp_path, "victim")
        honest = add(made, "honest")
        reaches(made, honest, "done")
        forged = Task(
            id=TaskId(new_ulid()), title="forged", creator="user:boss", origin=NodeId("far"), answers="@far",
            created_ms=1, since_ms=1,
        )  # fmt: skip
        raw = run(_record(made, honest))
        altered = replace(unpack(raw)[0], title="altered", turn=1, status=forged.status, agent="", version=9)
        for task, record in ((forged, pack(forged)), (altered, pack(altered, unpack(raw)[1]))):
            run(_write(made, task, record))
        until(lambda: _rejected(made) >= 2, 45, "two refusals")
        last = add(made, "the last")
        reaches(made, last, "done")
        assert agent.lines("told") == [honest, last]


def _rejected(made: TestNode) -> int:
    return sum(1 for entry in made.call("audit") if entry["call"] == "task")


async def _record(made: TestNode, task: str) -> bytes:
    async with await Broker.connect(f"unix://{made.state}/broker/broker.sock") as broker:
        return (await broker.tasks([task]))[task]


async def _write(made: TestNode, task: Task, record: bytes) -> None:
    keys = Keys("nova").tasks
    socket = f"{made.state}/broker/broker.sock"
    async with await Broker.connect(f"unix://{socket}") as broker:
        await broker._link.batch(
            [
                ("HSET", keys.all, task.id, record, f"{task.id}.r", task.rank),
                ("ZADD", keys.open, 0, task.id),
                ("XADD", keys.log, "*", "t", task.id, "r", task.rank, "w", "added", "a", "", "n", "far"),
            ]
        )
