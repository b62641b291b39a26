"""The generic driver in a real tmux: it serves the program it was registered with, and nothing that looks wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nova_torch.errors import InvalidRequest
from tests.support.agents import Tui, tui
from tests.support.node import TestNode, node


@pytest.fixture
def running() -> Iterator[TestNode]:
    with node() as made:
        yield made


def generic(running: TestNode, folder: Path, *, shell: bool = False) -> Tui:
    """Return the Claude-like program, registered as a program that nobody has described."""
    agent = tui(running, folder, "unknown", shell=shell)
    running.register("unknown", agent.pane, "generic")
    agent.wait_state("idle")
    return agent


def test_messages_go_into_a_program_that_no_driver_describes(running: TestNode, tmp_path: Path) -> None:
    agent = generic(running, tmp_path)
    for number in range(5):
        receipt = running.send_wait("unknown", f"message {number}\nof two lines")
        assert (receipt["state"], receipt["reason"]) == ("submitted", "")
    assert [text.split("\n")[0] for text in agent.wait_prompts(5)] == [f"message {n}" for n in range(5)]


def test_a_dialog_and_a_draft_hold_the_message(running: TestNode, tmp_path: Path) -> None:
    agent = generic(running, tmp_path)
    agent.draft("half a thought")
    agent.wait_for("half a thought")
    message = running.send("unknown", "hello")["id"]
    assert running.wait_state(message, "held")["reason"] == "draft"
    agent.press("C-u")
    assert running.wait_state(message, "submitted")["state"] == "submitted"
    agent.ask_permission()
    second = running.send("unknown", "another")["id"]
    assert running.wait_state(second, "held")["reason"] == "dialog"
    assert agent.approved() == 0
    agent.press("Escape")
    assert running.wait_state(second, "submitted")["state"] == "submitted"
    assert agent.approved() == 0


def test_the_shell_that_it_leaves_gets_nothing(running: TestNode, tmp_path: Path) -> None:
    agent = generic(running, tmp_path, shell=True)
    agent.press("C-d")
    agent.wait_state("exited")
    message = running.send("unknown", "touch ran")["id"]
    assert running.wait_state(message, "held")["reason"] == "no_agent"
    assert "touch" not in agent.screen()


def test_a_restarted_daemon_still_knows_the_agent(running: TestNode, tmp_path: Path) -> None:
    agent = generic(running, tmp_path)
    running.kill()
    running.start()
    running.wait_up()
    assert running.send_wait("unknown", "after a restart")["state"] == "submitted"
    assert agent.wait_prompts(1) == ["after a restart"]


@pytest.mark.parametrize("program", ["sh", "bash --norc"])
def test_a_shell_is_no_program_for_it(running: TestNode, program: str) -> None:
    pane = running.tmux.open(program)
    running.tmux.wait_for(pane, "$")
    with pytest.raises(InvalidRequest, match="never types into a shell"):
        running.register("shell", pane, "generic")
    assert all(agent["agent_id"] != "shell" for agent in running.call("agents"))
