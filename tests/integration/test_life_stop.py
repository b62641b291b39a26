"""Agents that are stopped: asked first, then ended, archived, and what they leave behind."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.node import TestNode, node, until
from tests.support.spawned import QUICK, spawn, windows
from tests.support.tmux import runs


@pytest.fixture
def quick() -> Iterator[TestNode]:
    """A node that is impatient with its agents."""
    with node(env=QUICK) as made:
        yield made


AT_WORK_WITHOUT_A_BOX = """
import sys, time
while True:
    sys.stdout.write("\\033[?25h> ")
    sys.stdout.flush()
    if sys.stdin.readline().strip() == "/exit":
        break
    sys.stdout.write("\\033[?25l")
    sys.stdout.flush()
    time.sleep(1.5)
    print("done")
"""


def test_an_agent_that_is_stopped_in_the_last_moments_of_its_turn_is_asked_to_quit(
    quick: TestNode, tmp_path: Path
) -> None:
    program = tmp_path / "aider"
    program.write_text(AT_WORK_WITHOUT_A_BOX)
    spawn(quick, tmp_path, driver="aider", command=[sys.executable, str(program)])
    quick.wait_state(quick.send("worker-1", "go")["id"], "submitted")
    until(lambda: quick.call("agents")[0]["state"] == "busy", 45, "its turn")
    answer = json.loads(quick.novactl("stop", "worker-1", "--json").stdout)
    assert answer["ended"] == "it quit when it was asked"


def test_a_stopped_agent_was_asked_and_is_archived_and_says_what_became_of_its_messages(
    quick: TestNode, tmp_path: Path
) -> None:
    agent = spawn(quick, tmp_path, env={"TOKEN": "swordfish-7319"})
    first = quick.send("worker-1", "remember the milk")["id"]
    quick.wait_state(first, "acknowledged")
    pid, before = agent.pid(), windows(quick)
    quick.call("pause", {"agent_id": "worker-1"})
    waiting = quick.send("worker-1", "never typed")["id"]
    quick.wait_state(waiting, "held")
    done = quick.novactl("stop", "worker-1", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["ended"] == "it quit when it was asked"
    assert answer["messages"] == {"failed": 1, "submitted": 0, "unconfirmed": 0}
    assert not runs(pid)
    assert windows(quick) == [window for window in before if window != "nova:worker-1"]
    assert quick.call("agents") == []
    assert quick.receipt(waiting)["state"] == "failed"
    archive = Path(answer["archive"])
    assert archive.parent == quick.state / "archive"
    assert stat.S_IMODE(os.stat(archive).st_mode) == 0o700
    assert {file.name: stat.S_IMODE(os.stat(file).st_mode) for file in archive.iterdir()} == dict.fromkeys(
        ("before.txt", "pane.txt", "summary.json"), 0o600
    )
    assert "remember the milk" in (archive / "pane.txt").read_text()
    summary = json.loads((archive / "summary.json").read_text())
    assert (summary["exit"], summary["env"]) == ({"code": 0, "signal": None}, ["TOKEN"])
    assert "swordfish" not in (archive / "summary.json").read_text()


def test_an_agent_that_does_not_listen_is_terminated_and_with_force_it_is_killed(
    quick: TestNode, tmp_path: Path
) -> None:
    spawn(quick, tmp_path, name="deaf", driver="line", command=["sh", "-c", "trap '' TERM; cat; sleep 60"])
    spawn(quick, tmp_path, name="soft", driver="line", command=["cat"])
    spawn(quick, tmp_path, name="hard", driver="line", command=["cat"])
    assert quick.call("stop_agent", {"agent_id": "soft"}, 30)["ended"] == "it ended on SIGTERM"
    assert quick.call("stop_agent", {"agent_id": "hard", "force": True}, 30)["ended"] == "it was killed"
    assert quick.call("stop_agent", {"agent_id": "deaf"}, 30)["ended"] == "it was killed"
    assert quick.call("agents") == []


def test_an_agent_that_has_ended_is_stopped_and_archived_too(quick: TestNode, tmp_path: Path) -> None:
    agent = spawn(quick, tmp_path)
    os.kill(agent.pid(), signal.SIGKILL)
    agent.wait_state("exited")
    answer = quick.call("stop_agent", {"agent_id": "worker-1"}, 30)
    assert answer["ended"] == "it had ended already"
    assert json.loads((Path(answer["archive"]) / "summary.json").read_text())["exit"]["signal"] == 9


def test_a_daemon_killed_as_it_stops_an_agent_ends_and_archives_it_at_its_next_start(
    quick: TestNode, tmp_path: Path
) -> None:
    quick.env["NOVA_LIFE_TERMINATE_S"] = "30"
    quick.stop()
    quick.start()
    quick.wait_up()
    deaf = "trap 'echo deaf' TERM; while :; do sleep 0.05; done"
    spawn(quick, tmp_path, driver="line", command=["sh", "-c", deaf])
    pane = quick.call("agents")[0]["pane"]
    pid = int(quick.tmux.value(pane, "pane_pid"))
    with ThreadPoolExecutor(1) as threads:
        stopping = threads.submit(quick.novactl, "stop", "worker-1")
        quick.tmux.wait_for(pane, "deaf")
        quick.kill()
        assert stopping.result().returncode == 3
    assert runs(pid)
    quick.env["NOVA_LIFE_TERMINATE_S"] = "0.2"
    quick.start()
    quick.wait_up()
    until(lambda: not quick.call("agents"), 45, "its stop")
    assert not runs(pid)
    (archive,) = (quick.state / "archive").iterdir()
    assert json.loads((archive / "summary.json").read_text())["ended"] == "it was killed"
    assert "deaf" in (archive / "pane.txt").read_text()
    assert "nova:worker-1" not in windows(quick)


def test_an_unregistered_agent_runs_on_and_nobody_starts_it_again(quick: TestNode, tmp_path: Path) -> None:
    agent = spawn(quick, tmp_path, restart="always")
    pid = agent.pid()
    quick.call("unregister", {"agent_id": "worker-1"})
    assert runs(pid)
    os.kill(pid, signal.SIGKILL)
    time.sleep(1.0)
    assert agent.starts() == 1
