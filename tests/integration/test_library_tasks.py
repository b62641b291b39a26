"""The library's tasks and groups with a real node: what `novactl task` and `novactl send` do, for programs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import pytest

from nova_torch import AsyncNovaOrchestrator, AsyncTaskQueue, Event, NovaOrchestrator, TaskQueue, TaskState
from nova_torch.errors import (
    AgentNotFound,
    Conflict,
    DaemonUnreachable,
    InvalidRequest,
    NotAllowed,
    NotDelivered,
    NotFound,
    TaskNotFound,
    TimedOut,
)
from nova_torch.tasks import TaskRecord
from nova_torch.ulid import new_ulid
from novactl.table.task import STATES
from tests.support.aio import run
from tests.support.node import ROOT, until
from tests.support.office import ANSWER, NOWHERE, Office, at_home, office


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with office(tmp_path_factory.mktemp("office"), {"NOVA_NODE_LABELS": "gpu"}) as made:
        yield made


@pytest.fixture(autouse=True)
def clean(site: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    at_home(site, monkeypatch)


def test_a_task_is_added_given_and_done(site: Office) -> None:
    tasks = TaskQueue()
    wish: dict[str, Any] = {"body": "all of it", "role": "developer", "skills": ["sql"], "retries": 1}
    wish["task_id"] = new_ulid()
    first = tasks.add("Mend the parser", **wish)
    assert tasks.add("Mend the parser", **wish).id == first.id == wish["task_id"], "added twice is once"
    then = tasks.add("Release it", role="developer", depends_on=[first.id], priority="high")
    assert (then.state, then.priority) == (TaskState.WAITING, "high")
    given = until(
        lambda: (one := tasks.show(first.id)).state is TaskState.ASSIGNED and one, 30, "the task given"
    )
    assert (given.agent, given.body, given.attempt, given.retries) == ("agent_123", "all of it", 1, 1)
    until(lambda: site.typed(f"Task {first.id}"), 45, "its agent told")
    assert [task.id for task in tasks.list_tasks(agent="agent_123")] == [first.id]
    assert tasks.update(first.id, progress=60, note="tests are left").progress == 60
    done = tasks.done(first.id, "mended in 4f2a", artifacts=["fix.patch"])
    assert done.state is TaskState.DONE
    assert tasks.done(first.id, "mended in 4f2a", artifacts=["fix.patch"]).state is TaskState.DONE
    told = tasks.show(first.id)
    assert (told.result, told.artifacts) == ("mended in 4f2a", ("fix.patch",))
    assert [step.what for step in told.steps] == ["added", "assigned", "updated", "done"]
    assert tasks.show(then.id).depends_on == {first.id: "done"}
    assert first.id in {task.id for task in tasks.list_tasks(state="done")}
    assert first.id not in {task.id for task in tasks.list_tasks()}
    tasks.cancel(then.id, "not this week")
    assert tasks.show(then.id).steps[-1].reason == "not this week"


def test_a_task_goes_back_and_is_given_anew(site: Office) -> None:
    tasks = TaskQueue()
    task = tasks.add("Try it", role="developer", retries=0)
    until(lambda: tasks.show(task.id).state is TaskState.ASSIGNED, 45, "the task given")
    failed = tasks.fail(task.id, "no access")
    assert (failed.state, tasks.show(task.id).steps[-1].reason) == (TaskState.FAILED, "no access")
    again = tasks.reassign(task.id, "agent_123")
    assert (again.state, again.wanted) == (TaskState.READY, "agent_123")
    tasks.cancel(task.id)
    with pytest.raises(Conflict, match="cancelled"):
        tasks.cancel(task.id)


def test_who_could_have_a_task_is_explained(site: Office) -> None:
    tasks = TaskQueue()
    task = tasks.add("Speak Latin", skills=["latin"], anyway=True)
    (one,) = [each for each in tasks.show(task.id).candidates if each.agent == "agent_123"]
    assert one.score is None
    assert "latin" in one.why_not
    tasks.cancel(task.id)


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        (lambda tasks: tasks.add("", role="developer"), InvalidRequest, "title"),
        (lambda tasks: tasks.add("x", skills=["sqk"]), NotFound, "Did you mean sql"),
        (lambda tasks: tasks.add("x", role="developr"), NotFound, "Did you mean developer"),
        (lambda tasks: tasks.add("x", depends_on=[new_ulid()]), InvalidRequest, "no task .* is known"),
        (lambda tasks: tasks.add("x", retries="many"), InvalidRequest, "retries must be a whole number"),
        (lambda tasks: tasks.add("x", deadline_s=-1), InvalidRequest, "deadline_s is -1"),
        (lambda tasks: tasks.add("x", task_id="no"), InvalidRequest, "not a ULID"),
        (lambda tasks: tasks.show(new_ulid()), TaskNotFound, "no task"),
        (lambda tasks: tasks.show(""), InvalidRequest, "task_id is empty"),
        (lambda tasks: tasks.list_tasks(state="redy"), InvalidRequest, "One of: ready, waiting"),
        (lambda tasks: tasks.update(new_ulid(), progress=101), InvalidRequest, "from 0 to 100"),
        (lambda tasks: tasks.claim(), NotAllowed, "no agent of this node"),
    ],
)
def test_what_is_wrong_with_a_task_is_said(site: Office, wrong: object, error: type, said: str) -> None:
    assert callable(wrong)
    with pytest.raises(error, match=said):
        wrong(TaskQueue())


def test_a_cycle_of_dependencies_is_printed(site: Office) -> None:
    tasks = TaskQueue()
    one = tasks.add("one", role="developer", skills=["sql"], depends_on=[(zero := tasks.add("zero", anyway=True,
        skills=["nobody"])).id])  # fmt: skip
    with pytest.raises(InvalidRequest, match=f"{one.id}.*{zero.id}|{zero.id}.*{one.id}"):
        tasks.update(zero.id, depends_on=[one.id])
    for task in (one, zero):
        tasks.cancel(task.id)


def test_an_agent_claims_a_task_in_its_pane_by_the_library(site: Office) -> None:
    task = TaskQueue().add("Take me", body="the whole story", skills=["none"], anyway=True)
    program = (
        "import sys; from nova_torch import TaskQueue; tasks = TaskQueue()\n"
        "mine = tasks.claim(sys.argv[1]); print(mine.body, mine.agent, mine.state.value)\n"
        "print(tasks.done(mine.id, 'done by myself').state.value)"
    )
    tmux = site.node.tmux
    pane = site.node.call("agents", {})[0]["pane"]
    done = subprocess.run(
        [sys.executable, "-c", program, task.id],
        env={
            **site.node.environment,
            "PYTHONPATH": str(ROOT),
            "TMUX": f"{tmux.socket_path},1,0",
            "TMUX_PANE": pane,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines() == ["the whole story agent_123 assigned", "done"], done.stderr


def test_steps_are_watched_by_both_twins(site: Office) -> None:
    async def scenario() -> list[str]:
        seen: list[Event] = []
        async with AsyncTaskQueue() as tasks, aclosing(tasks.watch()) as steps:
            hearing = asyncio.ensure_future(anext(steps))
            made: list[TaskRecord] = []
            while not hearing.done():  # who watches hears of what comes after it began
                made.append(await tasks.add("look at me", skills=["none"], anyway=True))
                await asyncio.wait([hearing], timeout=0.3)
            seen.append(hearing.result())
            for task in made:
                await tasks.cancel(task.id)
            async for step in steps:
                seen.append(step)
                if step.event == "task.cancelled" and step.task == made[-1].id:
                    break
        assert {step.event for step in seen} == {"task.added", "task.cancelled"}
        assert {step.task for step in seen} <= {task.id for task in made}
        return [step.event for step in seen]

    assert run(scenario())
    heard: list[Event] = []
    TaskQueue().watch(heard.append, timeout_s=0.2)
    assert not heard


def test_the_states_of_a_task_are_those_of_the_command() -> None:
    assert tuple(TaskState) == STATES


def test_without_a_daemon_there_are_no_tasks() -> None:
    with pytest.raises(DaemonUnreachable):
        TaskQueue(socket=NOWHERE).list_tasks()


def test_one_of_a_group_gets_it_and_again_the_same_one(site: Office) -> None:
    nova = NovaOrchestrator()
    one = new_ulid()
    body = f"only for one {one}"
    group = "role:developer,label:gpu"
    told = nova.send_message(group, body, any_member=True, message_id=one, wait="submitted", timeout_s=30)
    assert (told.agent, told.delivered) == ("agent_123", True)
    assert nova.send_message(group, body, any_member=True, message_id=one).agent == "agent_123"
    assert site.typed(body) == 1
    (known,) = [one for one in site.node.call("agents") if one["agent_id"] == "reviewer"]
    wish = {"agent_id": "reviewer", "role": "reviewer", "pane": known["pane"], "driver": known["driver"]}
    site.node.call("unregister", {"agent_id": "reviewer"})
    site.node.call("register", wish)
    assert nova.ask("role:reviewer", "Who?", timeout_s=30).body == ANSWER
    with pytest.raises(InvalidRequest, match="may be several agents"):
        nova.send_message("role:developer", "to whom?")
    with pytest.raises(AgentNotFound, match="developr"):
        nova.send_message("role:developr", "to nobody", any_member=True)


def test_a_quorum_is_waited_for_and_no_longer(site: Office) -> None:
    async def scenario() -> None:
        async with AsyncNovaOrchestrator() as nova:
            site.node.call("pause", {"agent_id": "agent_123"})
            try:
                told = await nova.broadcast("two of you?", wait="submitted", minimum=1, timeout_s=60)
                assert [receipt.agent for receipt in told] == ["agent_123", "reviewer"]
                assert [receipt.delivered for receipt in told] == [False, True]
                with pytest.raises(TimedOut, match="1 of 2 are submitted after 1 s") as caught:
                    await nova.broadcast("both of you!", wait="submitted", minimum=2, timeout_s=1)
            finally:
                site.node.call("resume", {"agent_id": "agent_123"})
            again = caught.value.message_id
            told = await nova.broadcast(
                "both of you!", wait="submitted", minimum=2, timeout_s=60, message_id=again, labels=["gpu"]
            )
            assert all(receipt.delivered for receipt in told)
            with pytest.raises(NotDelivered, match=r"0 of 1 are acknowledged.*1 report nothing") as silent:
                await nova.broadcast(
                    "read it?", role="developer", wait="acknowledged", minimum=1, timeout_s=60
                )
            assert silent.value.message_id
            with pytest.raises(InvalidRequest, match="3 are to get it, and all has 2"):
                await nova.broadcast("three?", wait="submitted", minimum=3)
            with pytest.raises(InvalidRequest, match="minimum goes with wait"):
                await nova.broadcast("when?", minimum=1)
            with pytest.raises(AgentNotFound, match="label:tpu"):
                await nova.broadcast("where?", labels=["tpu"])

    run(scenario())
    assert site.typed("both of you!") == 1
