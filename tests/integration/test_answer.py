"""Dialogs are answered on explicit order only, after a check that they are still the ones that were shown."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nova_torch.errors import Conflict, NotAllowed
from nova_torch.protocol.client import Client
from tests.support.agents import Tui, raw, tui
from tests.support.node import ROOT, TestNode, node, until


@pytest.fixture(scope="module")
def running() -> Iterator[TestNode]:
    with node() as made:
        yield made


def asking(running: TestNode, folder: Path, name: str, **options: Any) -> Tui:
    agent = tui(running, folder, name, **options)
    agent.ask_permission()
    return agent


def test_a_dialog_is_shown_and_answered_and_the_tool_runs_once(running: TestNode, tmp_path: Path) -> None:
    agent = asking(running, tmp_path, "one")
    shown = running.call("dialog_answer", {"agent_id": "one"})["dialog"]
    assert shown["question"] == "Do you want to proceed?"
    assert [(option["key"], option["text"]) for option in shown["options"]] == [("1", "Yes"), ("2", "No")]
    assert agent.approved() == 0
    done = running.call(
        "dialog_answer", {"agent_id": "one", "choice": "yes", "fingerprint": shown["fingerprint"]}
    )
    assert (done["outcome"], done["choice"], done["dialog"]) == ("gone", "1", None)
    assert done["by"].startswith("user:")
    until(lambda: agent.approved() == 1, 45, "the approval")
    with pytest.raises(Conflict, match=r"^no dialog is open"):
        running.call("dialog_answer", {"agent_id": "one", "choice": "1"})
    with pytest.raises(Conflict, match="is gone, no dialog is open"):
        running.call("dialog_answer", {"agent_id": "one", "choice": "1", "fingerprint": shown["fingerprint"]})
    assert agent.approved() == 1


def test_another_dialog_than_the_one_that_was_shown_is_not_answered(
    running: TestNode, tmp_path: Path
) -> None:
    agent = asking(running, tmp_path, "two")
    with pytest.raises(Conflict, match="another dialog"):
        running.call("dialog_answer", {"agent_id": "two", "choice": "1", "fingerprint": "00000000"})
    assert agent.approved() == 0
    assert running.call("dialog_answer", {"agent_id": "two", "choice": "no"})["choice"] == "2"
    until(lambda: ("rejected", "USETOOL please") in agent.events(), 45, "the rejection")
    assert agent.approved() == 0


def test_a_message_that_waits_for_the_dialog_is_typed_once_after_the_answer(
    running: TestNode, tmp_path: Path
) -> None:
    agent = asking(running, tmp_path, "three", hooks=True)
    message = running.send("three", "this waits for the answer")
    running.wait_state(message["id"], "held")
    done = running.call("dialog_answer", {"agent_id": "three", "choice": "1"})
    assert done["outcome"] == "gone"
    running.wait_state(message["id"], "acknowledged")
    assert [text for text in agent.prompts() if "this waits" in text] == ["this waits for the answer"]
    assert agent.approved() == 1


def test_an_agent_may_not_answer_unless_it_is_allowed_to(running: TestNode, tmp_path: Path) -> None:
    agent = asking(running, tmp_path, "four")
    caller = raw(running, tmp_path, "caller")
    where = {"pane": caller.pane, "tmux": f"{running.tmux.socket_path},1,0"}
    with pytest.raises(NotAllowed, match="caller"):
        running.call("dialog_answer", {"agent_id": "four", "choice": "1", **where})
    assert agent.approved() == 0


def test_an_agent_that_hides_its_pane_is_known_by_its_process(running: TestNode, tmp_path: Path) -> None:
    agent = asking(running, tmp_path, "five")
    said = tmp_path / "said"
    hidden = ["env", "-u", "TMUX", "-u", "TMUX_PANE", f"NOVA_SOCKET={running.socket}", f"PYTHONPATH={ROOT}"]
    command = shlex.join([*hidden, sys.executable, "-m", "novactl.main", "answer", "five", "1"])
    pane = running.tmux.open("sh")
    running.register("sneaky", pane)
    running.tmux.press(pane, "-l", f"{command} > {said} 2>&1; echo code=$? >> {said}")
    running.tmux.press(pane, "Enter")
    until(lambda: said.exists() and "code=" in said.read_text(), 45, "the refusal")
    assert "sneaky may not answer" in said.read_text()
    assert "code=4" in said.read_text()
    assert agent.approved() == 0


def test_an_answer_is_an_event_with_who_and_what(running: TestNode, tmp_path: Path) -> None:
    asking(running, tmp_path, "six")
    with Client.connect(running.socket, 5.0) as client:
        events = client.stream("watch", {"agent": "six"}, 20.0)
        next(events)
        running.call("dialog_answer", {"agent_id": "six", "choice": "1"})
        event = next(event for event in events if event["event"] == "agent.answered")
    assert (event["choice"], event["outcome"]) == ("1", "gone")
    assert event["by"].startswith("user:")
    assert "dialog.answered" in running.log()


def test_novactl_answer_shows_what_would_be_answered(running: TestNode, tmp_path: Path) -> None:
    agent = asking(running, tmp_path, "seven")
    shown = running.novactl("answer", "seven")
    assert shown.returncode == 0
    assert "Do you want to proceed?" in shown.stdout
    assert "touch toolran" in shown.stdout
    assert "--fingerprint" in shown.stdout
    refused = running.novactl("answer", "seven", "perhaps")
    assert refused.returncode == 2
    assert "1. Yes; 2. No" in refused.stderr
    done = running.novactl("answer", "seven", "no")
    assert (done.returncode, "the dialog is gone" in done.stdout) == (0, True), done.stderr
    assert agent.approved() == 0


def test_peek_follows_a_pane_and_ends_with_it(running: TestNode, tmp_path: Path) -> None:
    agent = tui(running, tmp_path, "eight")
    with Client.connect(running.socket, 5.0) as client:
        screens = client.stream("peek", {"agent_id": "eight"}, 20.0)
        assert "half a thought" not in "\n".join(next(screens)["lines"])
        agent.draft("half a thought")
        assert any("half a thought" in "\n".join(shown["lines"]) for shown in screens)


def test_attach_opens_the_very_pane_in_a_terminal(running: TestNode, tmp_path: Path) -> None:
    running.tmux.tmux("new-session", "-d", "-s", "two words", "sleep 1000")
    pane = running.tmux.tmux(
        "split-window", "-d", "-P", "-F", "#{pane_id}", "-t", "=two words:", "sleep 1000"
    )
    running.tmux.tmux("new-window", "-t", "=two words:", "sleep 1000")
    running.register("nine", pane.strip())
    terminal = running.tmux.open("sh")
    env = [f"{name}={value}" for name, value in running.environment.items()]
    command = [
        "env",
        "-u",
        "TMUX",
        *env,
        f"PYTHONPATH={ROOT}",
        sys.executable,
        "-m",
        "novactl.main",
        "attach",
    ]
    running.tmux.press(terminal, "-l", shlex.join([*command, "nine"]))
    running.tmux.press(terminal, "Enter")

    def attached() -> bool:
        shown = running.tmux.tmux("list-clients", "-F", "#{session_name}|#{pane_id}")
        return f"two words|{pane.strip()}" in shown

    until(attached, 45, "the attached client")
    refused = running.novactl("attach", "nine")
    assert refused.returncode == 1
    assert "no terminal" in refused.stderr
