"""Tasks on a real node: who gets them, what is typed, how they end, and what is said of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from nova_torch.errors import Conflict, InvalidRequest, NotAllowed, NotFound, TaskNotFound
from nova_torch.ulid import new_ulid
from tests.support.doers import Doer, doer
from tests.support.node import TestNode, node, until


@pytest.fixture(scope="module")
def running() -> Iterator[TestNode]:
    with node() as made:
        yield made


def add(on: TestNode, title: str = "a task", **more: Any) -> str:
    return str(on.call("task_add", {"title": title, **more})["id"])


def shown(on: TestNode, task: str) -> dict[str, Any]:
    return dict(on.call("task_show", {"id": task}))


def reaches(on: TestNode, task: str, *states: str, timeout_s: float = 20.0) -> dict[str, Any]:
    until(
        lambda: shown(on, task)["state"] in states,
        timeout_s,
        f"{states}: {shown(on, task)} {on.log()[-2000:]}",
    )
    return shown(on, task)


def gone(agent: Doer) -> None:
    agent.node.call("unregister", {"agent_id": agent.name})


def test_what_nobody_could_have_says_what_is_missing(running: TestNode, tmp_path: Path) -> None:
    agent = doer(running, tmp_path, "worker-0", skills=("python",))
    role = add(running, "mend", role="worked", anyway=True)
    skill = add(running, "mend", role="worker", skills=["pyhton"], anyway=True)
    later = add(running, "after it", role="worked", depends_on=[role], anyway=True)
    assert shown(running, role)["reason"] == "no agent has the role 'worked'. Did you mean worker?"
    assert shown(running, skill)["reason"] == (
        "no agent of the role worker has the skill pyhton. Did you mean python?"
    )
    assert shown(running, later)["reason"] == f"it depends on {role}"
    for task in (later, role, skill):
        running.call("task_cancel", {"id": task})
    gone(agent)


def test_an_idle_agent_gets_a_task_and_ends_it(running: TestNode, tmp_path: Path) -> None:
    agent = doer(running, tmp_path, "worker-1", skills=("python",))
    added = running.novactl(
        "task", "add", "Fix the login", "--role", "worker", "--skill", "python", "--body", "All of it."
    )
    assert added.returncode == 0, added.stderr
    task = added.stdout.strip()
    found = reaches(running, task, "done")
    assert (found["agent"], found["attempt"], found["result"][:7]) == ("worker-1", 1, "by pid ")
    assert [step["what"] for step in found["steps"]] == ["added", "assigned", "done"]
    assert found["steps"][1]["reason"].startswith("score ")
    until(lambda: agent.lines("told") == agent.lines("done") == [task], 45, "its own word")
    typed = running.tmux.capture(agent.pane)
    assert "Fix the login" in typed
    assert "All of it." in typed
    listed = running.novactl("task", "list", "--all").stdout
    assert f"{task}\tdone" in listed
    told = running.novactl("task", "show", task).stdout
    assert "result:\nby pid" in told
    assert running.call("task_list") == []

    def figures() -> dict[str, Any]:
        row = next(row for row in running.call("agents") if row["agent_id"] == "worker-1")
        return dict(row["performance"])

    until(lambda: figures()["tasks_completed"] == 1, 45, "the tally")
    assert figures()["tasks_failed"] == 0
    assert 0 <= figures()["avg_completion_time"] < 20
    gone(agent)


def test_one_agent_has_one_task_at_a_time_and_the_most_urgent_comes_first(
    running: TestNode, tmp_path: Path
) -> None:
    low = add(running, "low", priority="low", anyway=True)
    urgent = add(running, "urgent", priority="urgent", anyway=True)
    agent = doer(running, tmp_path, "one", "--work", "0.3")
    for task in (urgent, low):
        reaches(running, task, "done")
    assert agent.lines("told") == [urgent, low]
    gone(agent)


def test_who_ends_a_task_before_it_has_read_all_of_its_message_gets_the_next_one_at_once(
    running: TestNode, tmp_path: Path
) -> None:
    """A line-based program reads line by line; only when the last one is read does nothing wait for it."""
    agent = doer(running, tmp_path, "reader", "--work", "0.3", role="reader")
    tasks = [add(running, f"task {n}", role="reader") for n in range(3)]
    for task in tasks:
        reaches(running, task, "done")
    steps = [{step["what"]: step["at_ms"] for step in shown(running, task)["steps"]} for task in tasks]
    for ended, given in pairwise(steps):  # without a word of that it is looked at every 5 s
        assert given["assigned"] - ended["done"] < 4000
    gone(agent)


def test_a_task_waits_for_those_it_depends_on(running: TestNode, tmp_path: Path) -> None:
    first = add(running, "first", role="worker", anyway=True)
    second = add(running, "second", role="worker", depends_on=[first], anyway=True)
    assert (shown(running, second)["state"], shown(running, second)["reason"]) == (
        "waiting",
        f"it depends on {first}",
    )
    third = add(running, "third", depends_on=[second], anyway=True)
    assert shown(running, third)["depends_on"] == [{"id": second, "state": "waiting"}]
    refused = running.novactl("task", "done", first)
    assert f"task {first} is nobody's" in refused.stderr
    agent = doer(running, tmp_path, "serial")
    reaches(running, third, "done")
    assert agent.lines("told") == [first, second, third]
    gone(agent)


def test_a_list_without_a_task_says_so(running: TestNode) -> None:
    assert running.novactl("task", "list").stderr == "no task is open.\n"
    nobody = running.novactl("task", "list", "--role", "nobodys")
    assert (nobody.returncode, nobody.stdout) == (0, "")
    assert nobody.stderr == "nobody has the role 'nobodys'. See them all: novactl agents\n"
    none = running.novactl("task", "list", "--state", "blocked")
    assert none.stderr == "no task matches. See them all: novactl task list --all\n"


def test_a_dependency_that_failed_blocks_until_it_is_opened_again(running: TestNode, tmp_path: Path) -> None:
    first = add(running, "first", role="worker", retries=0, anyway=True)
    second = add(running, "second", depends_on=[first], anyway=True)
    agent = doer(running, tmp_path, "holder", "--hold")
    until(lambda: agent.lines("told") == [first], 45, "the task")
    failed = running.novactl("task", "fail", first, "--reason", "no access")
    assert failed.stdout == f"{first} failed: no access\n"
    assert shown(running, second)["state"] == "blocked"
    assert first in shown(running, second)["reason"]
    gone(agent)
    again = doer(running, tmp_path, "second-try")
    assert running.novactl("task", "reassign", first).returncode == 0
    reaches(running, second, "done")
    until(lambda: again.lines("done") == [first, second], 45, "its own word")
    gone(again)


def test_a_circle_of_tasks_is_refused_and_printed(running: TestNode) -> None:
    one = add(running, "one", role="nobody", anyway=True)
    two = add(running, "two", role="nobody", depends_on=[one], anyway=True)
    three = add(running, "three", role="nobody", depends_on=[two], anyway=True)
    refused = running.novactl("task", "update", one, "--depends-on", three)
    assert refused.returncode == 2
    assert f"would wait for each other: {one} -> {three} -> {two} -> {one}" in refused.stderr
    assert running.novactl("task", "update", two, "--depends-on-nothing").returncode == 0
    assert running.novactl("task", "update", three, "--depends-on-nothing").returncode == 0
    assert running.novactl("task", "update", one, "--depends-on", three).returncode == 0
    for task in (one, two, three):
        running.call("task_cancel", {"id": task})


def test_a_circle_through_a_task_that_was_cancelled_is_refused(running: TestNode) -> None:
    """It can be opened again, and both would wait for ever."""
    one = add(running, "one", role="nobody", anyway=True)
    two = add(running, "two", role="nobody", depends_on=[one], anyway=True)
    three = add(running, "three", role="nobody", depends_on=[two], anyway=True)
    for task in (three, two):
        running.call("task_cancel", {"id": task})
    refused = running.novactl("task", "update", one, "--depends-on", three)
    assert refused.returncode == 2
    assert f"would wait for each other: {one} -> {three} -> {two} -> {one}" in refused.stderr
    running.call("task_cancel", {"id": one})


def test_a_task_is_not_reassigned_to_an_agent_that_cannot_have_it(running: TestNode, tmp_path: Path) -> None:
    """It waited for that one for ever, and was called ready."""
    agent = doer(running, tmp_path, "typist", "--hold", role="typist")
    task = add(running, role="nobody", anyway=True)
    refused = running.novactl("task", "reassign", task, "--to", "typist")
    assert refused.returncode == 1
    assert f"typist cannot have task {task}: its role is typist, not nobody." in refused.stderr
    running.call("task_cancel", {"id": task})
    fits = add(running, role="typist", skills=["steno"], anyway=True)
    with pytest.raises(Conflict, match="it lacks steno"):
        running.call("task_reassign", {"id": fits, "to": "typist"})
    running.call("task_cancel", {"id": fits})
    gone(agent)


def test_who_gave_a_task_back_gets_it_only_when_nobody_else_is_idle(
    running: TestNode, tmp_path: Path
) -> None:
    first = doer(running, tmp_path, "unable", "--hold", role="pair")
    task = add(running, role="pair", retries=9)
    until(lambda: first.lines("told") == [task], 45, "the task")
    running.call("task_fail", {"id": task, "reason": "no", "pane": first.pane})
    until(lambda: shown(running, task)["attempt"] == 2, 45, "the same one: there is no other")
    second = doer(running, tmp_path, "able", "--hold", role="pair", skills=("a", "b", "c", "d"))
    running.call("task_fail", {"id": task, "reason": "no", "pane": first.pane})
    until(lambda: second.lines("told") == [task], 45, f"the other one; {shown(running, task)}")
    assert (shown(running, task)["agent"], shown(running, task)["attempt"]) == ("able", 3)
    running.call("task_cancel", {"id": task})
    gone(first)
    gone(second)


def test_what_an_agent_died_with_another_one_gets(running: TestNode, tmp_path: Path) -> None:
    dies = doer(running, tmp_path, "dies", "--hold")
    task = add(running, "survives")
    until(lambda: dies.lines("told") == [task], 45, "the task")
    dies.kill()
    lives = doer(running, tmp_path, "lives")
    found = reaches(running, task, "done", timeout_s=40)
    assert (found["agent"], found["attempt"]) == ("lives", 2)
    until(lambda: lives.lines("done") == [task], 45, "its own word")
    assert "released" in [step["what"] for step in found["steps"]]
    gone(lives)
    gone(dies)


def test_when_the_time_is_over_another_agent_gets_it_and_the_first_one_is_fenced(
    running: TestNode, tmp_path: Path
) -> None:
    slow = doer(running, tmp_path, "slow", "--work", "4")
    task = add(running, "in time", deadline_s=2, retries=1)
    until(lambda: slow.lines("told") == [task], 45, "the task")
    quick = doer(running, tmp_path, "quick")
    found = reaches(running, task, "done")
    assert found["agent"] == "quick"
    until(lambda: quick.lines("done") == [task], 45, "its own word")
    until(lambda: slow.lines("conflict") == [task], 45, "the refusal")
    until(lambda: "is not yours any more" in running.tmux.capture(slow.pane), 45, "the word to stop")
    assert shown(running, task)["agent"] == "quick"
    gone(slow)
    gone(quick)


def test_a_task_failed_too_often_has_failed(running: TestNode, tmp_path: Path) -> None:
    agent = doer(running, tmp_path, "fails", "--hold")
    task = add(running, "impossible", retries=1)
    for attempt in (1, 2):
        until(lambda n=attempt: len(agent.lines("told")) == n, 45, "the task")  # type: ignore[misc]
        running.call("task_fail", {"id": task, "reason": f"try {attempt}"})
    found = shown(running, task)
    assert (found["state"], found["reason"]) == ("failed", "try 2 (given 2 times)")
    gone(agent)


def test_an_agent_ends_only_its_own_task_and_a_second_end_is_refused(
    running: TestNode, tmp_path: Path
) -> None:
    holder = doer(running, tmp_path, "holder-2", "--hold")
    task = add(running, "mine")
    until(lambda: holder.lines("told") == [task], 45, "the task")
    other = doer(running, tmp_path, "other", "--hold")
    as_other = {"pane": other.pane, "tmux": f"{running.tmux.socket_path},1,0"}
    with pytest.raises(NotAllowed, match="is holder-2's, not other's"):
        running.call("task_done", {"id": task, "result": "stolen", **as_other})
    with pytest.raises(NotAllowed, match="was added by"):
        running.call("task_cancel", {"id": task, **as_other})
    as_holder = {**as_other, "pane": holder.pane}
    with pytest.raises(Conflict, match="has task"):
        running.call("task_claim", as_holder)
    update = running.call("task_update", {"id": task, "progress": 50, "note": "half", **as_holder})
    assert (update["progress"], update["reason"]) == (50, "half")
    row = next(row for row in running.call("agents") if row["agent_id"] == "holder-2")
    assert row["current_task"] == task
    done = {"id": task, "result": "yes", **as_holder}
    assert running.call("task_done", done)["state"] == running.call("task_done", done)["state"] == "done"
    with pytest.raises(Conflict, match="is done"):
        running.call("task_done", {**done, "result": "no"})
    gone(holder)
    gone(other)


def test_an_agent_may_ask_for_work_itself(running: TestNode, tmp_path: Path) -> None:
    agent = doer(running, tmp_path, "asks", "--hold", role="asker")
    running.call("pause", {"agent_id": "asks"})
    task = add(running, "to be claimed", role="asker", body="the details")
    where = {"pane": agent.pane, "tmux": f"{running.tmux.socket_path},1,0"}
    claimed = running.call("task_claim", where)
    assert (claimed["id"], claimed["agent"], claimed["body"]) == (task, "asks", "the details")
    assert running.call("task_claim", where) == claimed  # as if the first answer had been lost
    running.call("resume", {"agent_id": "asks"})
    after = running.send("asks", "behind it")["id"]
    running.wait_state(after, "submitted")
    assert agent.lines("told") == []  # it was told by its claim, and not by a message as well
    running.call("task_cancel", {"id": task, "reason": "enough"})
    assert shown(running, task)["state"] == "cancelled"
    with pytest.raises(NotFound, match="no task waits"):
        running.call("task_claim", where)
    gone(agent)


def test_a_shell_that_runs_a_command_is_busy_and_keeps_its_task(running: TestNode) -> None:
    pane = running.tmux.open("sh")
    running.tmux.wait_for(pane, "$")
    running.call("register", {"agent_id": "shell", "pane": pane, "driver": "line", "role": "sheller"})
    running.call("pause", {"agent_id": "shell"})
    task = add(running, "long work", role="sheller")
    running.call("task_claim", {"pane": pane, "tmux": f"{running.tmux.socket_path},1,0"})
    running.call("resume", {"agent_id": "shell"})
    running.wait_state(running.send("shell", "cat")["id"], "submitted")
    until(lambda: state_of(running, "shell") == ("busy", "it runs cat"), 45, "the command in front")
    after = running.send("shell", "true")["id"]
    assert running.wait_state(after, "held")["reason"] == "busy"
    running.tmux.press(pane, "C-d")
    running.wait_state(after, "submitted")
    until(lambda: state_of(running, "shell") == ("idle", ""), 45, "the shell")
    told = shown(running, task)
    assert (told["state"], told["agent"], told["attempt"]) == ("assigned", "shell", 1), told
    running.call("task_cancel", {"id": task, "reason": "enough"})
    running.call("unregister", {"agent_id": "shell"})


def state_of(on: TestNode, agent: str) -> tuple[str, str]:
    (row,) = (row for row in on.call("agents") if row["agent_id"] == agent)
    return row["state"], row["detail"]


def test_what_nobody_could_do_is_refused_and_says_why(running: TestNode, tmp_path: Path) -> None:
    agent = doer(running, tmp_path, "picky", "--hold", role="developer", skills=("python", "sql"))
    with pytest.raises(NotFound, match=r"no agent has the role 'develper'.*Did you mean developer\?"):
        add(running, role="develper")
    with pytest.raises(NotFound, match="no agent of the role developer has the skill cobol"):
        add(running, role="developer", skills=["python", "cobol"])
    known = add(running, role="developer", skills=["cobol"], anyway=True)
    assert shown(running, known)["candidates"][0]["why_not"] == "it lacks cobol"
    running.call("task_cancel", {"id": known})
    gone(agent)


@pytest.mark.parametrize(
    ("args", "error", "said"),
    [
        ({"title": " "}, InvalidRequest, "a title is one line"),
        ({"title": "x" * 201}, InvalidRequest, "a title is one line"),
        ({"title": "x", "depends_on": ["nonsense"]}, InvalidRequest, "is no task's id"),
        ({"title": "x", "depends_on": [new_ulid(1)]}, InvalidRequest, "no task .* is known"),
        ({"title": "x", "deadline_s": 0}, InvalidRequest, "deadline_s"),
        ({"title": "x", "retries": -1}, InvalidRequest, "retries"),
        ({"title": "x", "role": "two words"}, InvalidRequest, "no role and no skill"),
        ({"title": "x", "skills": 7}, InvalidRequest, "skills"),
        ({"title": "x", "skills": [""]}, InvalidRequest, "one of skills is empty"),
        ({"title": "x", "body": "b" * 70_000}, InvalidRequest, "the body: "),
        ({"title": "x", "id": "short"}, InvalidRequest, "is not a ULID"),
        ({"title": "x", "priority": "hi"}, InvalidRequest, "priority"),
    ],
)
def test_bad_tasks_are_refused(
    running: TestNode, args: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        running.call("task_add", args)
    with pytest.raises(TaskNotFound, match="no task NOPE"):
        running.call("task_show", {"id": "nope"})


def test_the_same_id_again_is_the_same_task(running: TestNode) -> None:
    task = add(running, "once", id=new_ulid(5), role="nobody", anyway=True)
    assert add(running, "once", id=task, role="nobody", anyway=True) == task
    with pytest.raises(Conflict, match="belongs to another task"):
        add(running, "twice", id=task)
    running.call("task_cancel", {"id": task})


def test_an_agent_of_lines_looks_idle_while_it_works_and_is_not_reminded(tmp_path: Path) -> None:
    with node(env={"NOVA_TASKS_REMIND_S": "0.2"}) as made:
        log = tmp_path / "lines.bytes"
        pane = made.tmux.open_program("rawlog.py", [str(log)])
        made.tmux.wait_for(pane, "READY")
        made.register("lines", pane)
        task = add(made, "nothing comes of it", deadline_s=3)
        reaches(made, task, "assigned")
        until(lambda: shown(made, task)["steps"][-1]["what"] != "assigned", 45, "the deadline")
        assert "reminded" not in {step["what"] for step in shown(made, task)["steps"]}
        assert b"still yours" not in log.read_bytes()
