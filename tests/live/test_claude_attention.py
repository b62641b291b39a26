"""What a real Claude Code needs a person for is seen, and its dialogs are answered once and only when ordered."""

from __future__ import annotations

from typing import Any

import pytest

from nova_torch.errors import Conflict
from nova_torch.protocol.client import Client
from tests.lab.claude import ClaudeLab
from tests.live.agent_node import needs
from tests.live.claude_node import ClaudeNode, claude_node
from tests.support.node import until

pytestmark = [pytest.mark.live, pytest.mark.timeout(300), needs(ClaudeLab)]


def open_dialog(claude: ClaudeNode, marker: str) -> dict[str, Any]:
    """Have the agent ask for a permission; return the dialog as `novactl answer` shows it."""
    claude.stub.mode = "tool"
    claude.lab.submit(f"{marker} USETOOL please")
    claude.lab.wait_for("Do you want", 30)
    claude.stub.mode = "text"
    until(lambda: claude.state == "dialog", 10, "the dialog's state")
    dialog: dict[str, Any] = claude.node.call("dialog_answer", {"agent_id": claude.name})["dialog"]
    return dialog


def answer(claude: ClaudeNode, choice: str, fingerprint: str) -> dict[str, Any]:
    args = {"agent_id": claude.name, "choice": choice, "fingerprint": fingerprint}
    return dict(claude.node.call("dialog_answer", args, timeout_s=20))


@pytest.mark.parametrize("hooked", [True, False])
def test_a_permission_is_granted_by_an_answer_and_the_tool_runs_once(hooked: bool) -> None:
    with claude_node(hooked=hooked) as claude:
        dialog = open_dialog(claude, "[[one]]")
        assert dialog["question"] == "Do you want to proceed?"
        assert [option["text"] for option in dialog["options"]][::2] == ["Yes", "No"]
        message = claude.send("[[after]] and then this")
        assert claude.node.wait_state(message, "held")["reason"] == "dialog"
        assert not (claude.directory / "toolran").exists()
        done = answer(claude, "1", dialog["fingerprint"])
        assert (done["outcome"], done["option"]) == ("gone", "Yes")
        until((claude.directory / "toolran").exists, 20, "the tool")
        claude.node.wait_state(message, "acknowledged" if hooked else "submitted", timeout_s=40)
        claude.wait_received("[[after]]")
        claude.wait_idle()
        assert claude.lab.capture().count("Bash(touch toolran)") == 1
        with pytest.raises(Conflict, match="no dialog is open"):
            answer(claude, "1", dialog["fingerprint"])


@pytest.mark.long
def test_a_permission_is_refused_by_an_answer_and_the_tool_does_not_run() -> None:
    with claude_node(hooked=True) as claude:
        dialog = open_dialog(claude, "[[one]]")
        done = answer(claude, "no", dialog["fingerprint"])
        assert (done["outcome"], done["choice"]) == ("gone", "3")
        claude.wait_idle()
        assert not (claude.directory / "toolran").exists()


@pytest.mark.long
def test_a_dialog_that_has_changed_since_it_was_shown_is_not_answered() -> None:
    with claude_node(hooked=True) as claude:
        dialog = open_dialog(claude, "[[one]]")
        claude.lab.tmux("send-keys", "-t", claude.lab.pane, "Escape")
        claude.wait_idle()
        with pytest.raises(Conflict, match="no dialog is open"):
            answer(claude, "1", dialog["fingerprint"])
        claude.lab.submit("/theme")
        claude.lab.wait_for("Dark mode", 20)
        with pytest.raises(Conflict, match="another dialog is open"):
            answer(claude, "1", dialog["fingerprint"])
        assert "Dark mode" in claude.lab.capture()
        assert not (claude.directory / "toolran").exists()


@pytest.mark.long
def test_a_reached_limit_needs_a_person_until_the_model_answers_again() -> None:
    with claude_node(hooked=True) as claude:
        claude.stub.limit = {"x-should-retry": "false"}
        first = claude.send("[[first]] hello")
        claude.node.wait_state(first, "acknowledged")
        until(lambda: _reasons(claude) == ["limit"], 20, "the limit's attention")
        (warning,) = (f for f in claude.node.call("status")["health"] if f["code"] == "usage_limit")
        assert "Request rejected (429)" in warning["message"]
        claude.stub.limit = None
        second = claude.send("[[second]] and now?")  # Claude takes it, limit or not
        claude.node.wait_state(second, "acknowledged")
        until(lambda: _reasons(claude) == [], 20, "the end of the limit")


@pytest.mark.long
def test_an_agent_that_compacts_says_so_and_a_message_meanwhile_arrives_once() -> None:
    with claude_node(hooked=True) as claude:
        claude.node.wait_state(claude.send("[[first]] hello"), "acknowledged")
        claude.wait_idle()
        claude.stub.delay_s = 4.0
        with Client.connect(claude.node.socket, 5.0) as client:
            events = client.stream("watch", {"agent": claude.name}, 40.0)
            next(events)
            claude.lab.submit("/compact")
            event = next(event for event in events if event.get("state") == "busy")  # after what was typed
            assert event["event"] == "agent.state"
        until(lambda: "compacts" in _detail(claude), 10, "the compaction")
        message = claude.send("[[meanwhile]] one more thing")
        claude.stub.delay_s = 0.0
        claude.node.wait_state(message, "acknowledged", timeout_s=40)
        claude.wait_received("[[meanwhile]]")
        claude.wait_idle()
        assert "compacts" not in _detail(claude)


def _reasons(claude: ClaudeNode) -> list[str]:
    return [row["reason"] for row in claude.node.call("status")["attention"]]


def _detail(claude: ClaudeNode) -> str:
    (state,) = claude.node.call("status")["states"]
    return str(state["detail"])
