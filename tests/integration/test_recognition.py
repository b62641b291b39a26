"""An agent behind an interpreter is told from every other program of that interpreter, in a real tmux."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nova_torch.errors import InvalidRequest
from tests.lab.tmux import PROGRAMS
from tests.support.agents import READY, Tui, held
from tests.support.node import TestNode, node, until

DRIVER = """
[driver]
name = "nodish"
commands = ["node"]
processes = ['agent_tui\\.py( |$)']
[composer]
find = "between_rules"
rule = '^─{3}'
prompts = ["❯"]
[ready]
after_s = 0.3
[text]
trailing = " "
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[TestNode]:
    (tmp_path / "drivers").mkdir()
    (tmp_path / "drivers" / "nodish.toml").write_text(DRIVER)
    with node(env={"NOVA_DELIVERY_DRIVERS_DIR": str(tmp_path / "drivers")}) as made:
        yield made


def interpreter(folder: Path) -> str:
    """Return a program called `node` that runs Python scripts."""
    link = folder / "node"
    if not link.exists():
        link.symlink_to(os.path.realpath(sys.executable))
    return str(link)


def agent_in_a_shell(running: TestNode, folder: Path) -> Tui:
    """Start the agent behind `node` from a shell, and register it without naming its driver."""
    log = folder / "agent.jsonl"
    words = [interpreter(folder), str(PROGRAMS / "agent_tui.py"), "--log", str(log), "--name", "n"]
    (folder / "agent.sh").write_text(shlex.join(words) + "\n")
    pane = running.tmux.open("sh")
    running.tmux.wait_for(pane, "$")
    agent = Tui(running, "n", pane, log, f". {folder / 'agent.sh'}")
    agent.launch()
    registered = running.call("register", {"agent_id": "n", "pane": pane})
    assert registered["driver"] == "nodish"
    agent.wait_state("idle")
    return agent


def test_an_agent_behind_an_interpreter_is_recognised_and_gets_its_message(
    running: TestNode, tmp_path: Path
) -> None:
    agent = agent_in_a_shell(running, tmp_path)
    assert running.tmux.value(agent.pane, "pane_current_command") == "node"
    assert running.send_wait("n", "hello")["state"] == "submitted"
    assert agent.wait_prompts(1) == ["hello"]


def test_nothing_is_typed_into_another_program_of_the_same_interpreter(
    running: TestNode, tmp_path: Path
) -> None:
    agent = agent_in_a_shell(running, tmp_path)
    log = tmp_path / "server.bytes"
    agent.press("C-d")
    agent.wait_state("exited")
    server = shlex.join([interpreter(tmp_path), str(PROGRAMS / "rawlog.py"), str(log)])
    running.tmux.press(agent.pane, "-l", server)
    running.tmux.press(agent.pane, "C-j")
    running.tmux.wait_for(agent.pane, "READY")
    assert running.tmux.value(agent.pane, "pane_current_command") == "node"
    message = running.send("n", "rm -rf /")["id"]
    assert running.wait_state(message, "held")["reason"] == "no_agent"
    row = held(running, "n")
    assert row is not None
    assert row["detail"] == "its pane runs node rawlog.py, not the agent"
    assert agent.state() == "exited"
    running.tmux.press(agent.pane, "q")
    until(lambda: log.read_bytes().endswith(b"q"), 45, "the server's key")
    assert b"rm" not in log.read_bytes()


def test_a_line_agent_is_not_the_next_script_of_its_interpreter(running: TestNode, tmp_path: Path) -> None:
    log, other = tmp_path / "one.bytes", tmp_path / "other.bytes"
    pane = running.tmux.open("sh")
    for script in (log, other):
        (tmp_path / f"{script.stem}.py").symlink_to(PROGRAMS / "rawlog.py")
    running.tmux.wait_for(pane, "$")
    running.tmux.press(pane, "-l", shlex.join([sys.executable, str(tmp_path / "one.py"), str(log)]))
    running.tmux.press(pane, "C-j")
    running.tmux.wait_for(pane, "READY")
    running.register("liner", pane)
    assert running.send_wait("liner", "first")["state"] == "submitted"
    front = _front(int(running.tmux.value(pane, "pane_pid")))
    os.kill(front, 9)
    running.tmux.press(pane, "-l", shlex.join([sys.executable, str(tmp_path / "other.py"), str(other)]))
    running.tmux.press(pane, "C-j")
    until(other.exists, 45, "the other program")
    message = running.send("liner", "second")["id"]
    assert running.wait_state(message, "held")["reason"] == "no_agent"
    assert b"second" not in other.read_bytes()


def _front(pane_pid: int) -> int:
    return int(Path(f"/proc/{pane_pid}/stat").read_text().rpartition(")")[2].split()[5])


def test_an_interpreter_that_runs_no_agent_is_no_agent(running: TestNode, tmp_path: Path) -> None:
    pane = running.tmux.open(
        shlex.join([interpreter(tmp_path), str(PROGRAMS / "rawlog.py"), str(tmp_path / "x.bytes")])
    )
    running.tmux.wait_for(pane, "READY")
    with pytest.raises(InvalidRequest, match=r"'node rawlog\.py', which no driver claims"):
        running.call("register", {"agent_id": "x", "pane": pane})
    assert READY not in running.tmux.capture(pane)
