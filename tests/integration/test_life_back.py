"""Spawned agents that end, or whose daemon does: who comes back, when, and what becomes of the queue."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nova_torch.errors import NovaError
from nova_torch.protocol.client import Client
from noval_d.canary.processes import living_in
from noval_d.life.ending import end_rest
from tests.support.node import TestNode, node, until
from tests.support.spawned import QUICK, Spawned, command, health, spawn
from tests.support.tmux import runs


@pytest.fixture
def quick() -> Iterator[TestNode]:
    """A node that is impatient with its agents."""
    with node(env=QUICK) as made:
        yield made


def test_a_crash_loop_ends_in_exited_with_one_warning_and_no_storm(quick: TestNode, tmp_path: Path) -> None:
    crash = tmp_path / "crash"
    agent = spawn(quick, tmp_path, arguments=["--crash-if", str(crash)], restart="always")
    crash.touch()
    os.kill(agent.pid(), signal.SIGKILL)
    until(lambda: "agent_given_up" in health(quick), 45, f"the warning {quick.log()[-3000:]}")
    assert agent.record()["state"] == "exited"
    assert health(quick).count("agent_given_up") == 1
    ended = quick.log().count("life.exited")
    assert ended == 4  # the first one and three tries
    message = quick.send("worker-1", "are you there?")["id"]
    time.sleep(1.0)  # nothing happens any more
    assert quick.log().count("life.exited") == ended
    assert quick.receipt(message)["state"] == "held"
    crash.unlink()
    done = quick.novactl("restart", "worker-1")
    assert done.returncode == 0, done.stderr
    quick.wait_state(message, "acknowledged")
    assert "agent_given_up" not in health(quick)


@pytest.mark.parametrize(("restart", "back"), [("on-failure", True), ("never", False), ("always", True)])
def test_a_killed_agent_comes_back_where_its_policy_says_so(
    quick: TestNode, tmp_path: Path, restart: str, back: bool
) -> None:
    agent = spawn(quick, tmp_path, restart=restart)
    pane = agent.record()["pane"]
    os.kill(agent.pid(), signal.SIGKILL)
    if back:
        agent.wait_starts(2)
        agent.wait_state("idle")
        assert agent.record()["pane"] == pane
    else:
        agent.wait_state("exited")
        assert "life.restarting" not in quick.log()
        assert agent.starts() == 1


def test_what_a_killed_agent_leaves_of_its_own_group_is_ended_and_its_other_jobs_are_not(
    quick: TestNode, tmp_path: Path
) -> None:
    script = "trap '' HUP; sleep 7101 & setsid sleep 7102 & exec cat"
    agent = spawn(quick, tmp_path, "lines", driver="line", command=["sh", "-c", script], restart="on-failure")
    pid = agent.pid()

    def sleeping(word: str) -> set[int]:
        found = living_in(quick.tmux.home)
        return {one.pid for one in found if one.is_running() and word in one.cmdline()}

    until(lambda: len(sleeping("7101")) == len(sleeping("7102")) == 1, 45, "both jobs")
    rest, job = sleeping("7101"), sleeping("7102")
    os.kill(pid, signal.SIGKILL)
    until(lambda: "life.rest_ended" in quick.log(), 45, f"the end of the rest, {quick.log()[-2000:]}")
    until(lambda: len(sleeping("7101") - rest) == 1, 45, "the next start")
    assert not rest & sleeping("7101")
    assert job <= sleeping("7102")


@pytest.mark.parametrize(("where", "ended"), [("%4", True), ("%5", False), (None, False)])
def test_a_service_in_the_group_of_a_number_that_was_an_agents_long_ago_is_left_alone(
    where: str | None, ended: bool
) -> None:
    """As a daemon comes to be: its parent led a session and has ended; only the pane says whose it was."""
    environment = {name: value for name, value in os.environ.items() if name != "TMUX_PANE"}
    environment |= {"TMUX_PANE": where} if where else {}
    argv = ["sh", "-c", "sleep 30 >/dev/null & echo $!"]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as parent:
        assert parent.stdout is not None
        service = int(parent.stdout.readline())
    try:
        assert asyncio.run(end_rest(parent.pid, 1.0, pane="%4")) == ended
        assert runs(service) != ended
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(service, signal.SIGKILL)


def test_an_agent_that_ends_well_comes_back_only_by_always(quick: TestNode, tmp_path: Path) -> None:
    agent = spawn(quick, tmp_path, restart="on-failure")
    quick.tmux.press(agent.record()["pane"], "C-d")
    agent.wait_state("exited")
    until(lambda: "exit code 0" in quick.log(), 45, "the end in the log")
    assert agent.starts() == 1
    assert "agent_given_up" not in health(quick)


def test_an_agent_whose_window_is_closed_comes_back_in_another(quick: TestNode, tmp_path: Path) -> None:
    agent = spawn(quick, tmp_path, restart="on-failure")
    pane = agent.record()["pane"]
    message = quick.send("worker-1", "one")["id"]
    quick.wait_state(message, "acknowledged")
    quick.tmux.tmux("kill-pane", "-t", pane)
    agent.wait_starts(2)
    agent.wait_state("idle")
    assert agent.record()["pane"] != pane
    assert agent.rows("start")[1]["argv"][-2] == "--resume"


def test_a_restart_keeps_name_queue_and_conversation(quick: TestNode, tmp_path: Path) -> None:
    agent = spawn(quick, tmp_path, prompt="the first prompt")
    pane, pid = agent.record()["pane"], agent.pid()
    quick.wait_state(quick.send("worker-1", "the second one")["id"], "acknowledged")
    quick.call("pause", {"agent_id": "worker-1"})
    message = quick.send("worker-1", "kept over the restart")["id"]
    quick.wait_state(message, "held")
    with Client.connect(quick.socket, 10.0) as client:
        steps = [step["step"] for step in client.stream("restart", {"agent_id": "worker-1"}, 30.0)]
    assert (steps[0], steps[-1]) == ("restarting", "ready")  # although it is paused
    assert quick.receipt(message)["reason"] == "paused"
    quick.call("resume", {"agent_id": "worker-1"})
    quick.wait_state(message, "acknowledged")
    assert not runs(pid)
    assert agent.record()["pane"] == pane
    assert agent.prompts() == ["the first prompt", "the second one", "kept over the restart"]
    again = agent.rows("start")[1]["argv"]
    assert "--resume" in again
    assert "the first prompt" not in again


def test_a_held_queue_drains_into_the_agent_that_came_back(quick: TestNode, tmp_path: Path) -> None:
    agent = spawn(quick, tmp_path, restart="on-failure")
    os.kill(agent.pid(), signal.SIGKILL)
    sent = [quick.send("worker-1", f"number {n}")["id"] for n in range(5)]
    for message in sent:
        quick.wait_state(message, "acknowledged")
    assert agent.prompts() == [f"number {n}" for n in range(5)]
    assert agent.starts() == 2


def test_a_message_that_an_agent_took_along_into_its_end_says_so(quick: TestNode, tmp_path: Path) -> None:
    agent = spawn(quick, tmp_path, arguments=["--busy", "60"], restart="on-failure")
    quick.wait_state(quick.send("worker-1", "a long task")["id"], "acknowledged")
    queued = quick.send("worker-1", "queued by the agent itself")["id"]
    quick.wait_state(queued, "submitted")
    os.kill(agent.pid(), signal.SIGKILL)
    agent.wait_starts(2)
    until(lambda: quick.receipt(queued)["final"], 45, "its last word")
    assert quick.receipt(queued)["state"] == "submitted"
    assert quick.receipt(queued)["reason"] == "its agent was gone before a hook told of it"
    after = quick.send("worker-1", "to its successor")["id"]
    quick.wait_state(after, "acknowledged")


def test_the_daemon_is_killed_while_it_starts_an_agent_and_exactly_one_program_runs(tmp_path: Path) -> None:
    for delay_s in (0.0, 0.03, 0.06, 0.1, 0.15, 0.25, 0.4):
        folder = tmp_path / f"{delay_s}"
        folder.mkdir()
        with node(env=QUICK) as made:
            log = folder / "worker-1.jsonl"
            words = command(made, log)
            args = {"role": "worker", "agent_id": "worker-1", "command": words, "here": str(folder)}
            with Client.connect(made.socket, 10.0) as client:
                steps = client.stream("spawn", {**args, "restart": "never"}, 30.0)
                thread = threading.Thread(target=_drain, args=(steps,))
                thread.start()
                time.sleep(delay_s)
                made.kill()
                thread.join()
            made.start()
            made.wait_up()
            if not [agent for agent in made.call("agents") if agent["agent_id"] == "worker-1"]:
                time.sleep(0.5)
                assert not log.exists()  # it was not decided yet
                continue
            agent = Spawned(made, "worker-1", log)
            agent.wait_state("idle", timeout_s=45)
            time.sleep(0.5)
            assert agent.starts() == 1


def _drain(steps: Iterator[Any]) -> None:
    try:
        for _ in steps:
            pass
    except NovaError:
        return


def test_a_killed_daemon_goes_on_with_the_policies_of_its_agents(quick: TestNode, tmp_path: Path) -> None:
    agent = spawn(quick, tmp_path, restart="on-failure")
    pid = agent.pid()
    quick.kill()
    os.kill(pid, signal.SIGKILL)
    quick.start()
    quick.wait_up()
    agent.wait_starts(2)
    agent.wait_state("idle")
