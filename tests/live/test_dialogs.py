"""Dialogs of real agents are answered by `novactl answer`: once, as ordered, and only the one that was shown."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from nova_torch.errors import Conflict
from tests.lab.agent_lab import AgentLab
from tests.lab.aider import AiderLab
from tests.lab.codex import CodexLab
from tests.lab.opencode import OpencodeLab
from tests.live.agent_node import AgentNode, agent_node, needs
from tests.support.node import until

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


@dataclass(frozen=True, slots=True)
class Kind:
    """How one agent asks whether a tool may run, and how it is told."""

    lab: type[AgentLab]
    shows: str
    once: str
    never: str
    keys: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


CODEX = Kind(CodexLab, "Would you like to", "Yes, proceed", "no", ("1", "2", "3"))
OPENCODE = Kind(OpencodeLab, "Permission required", "allow once", "Reject", ("1", "2", "3"))
# aider asks whether a command may be run only in the edit format of stronger models
AIDER = Kind(AiderLab, "Run shell command?", "yes", "n", ("Y", "N", "D"), {"AIDER_EDIT_FORMAT": "diff"})
KINDS = [
    pytest.param(kind, id=kind.lab.kind.name, marks=needs(kind.lab)) for kind in (CODEX, OPENCODE, AIDER)
]


def open_dialog(agent: AgentNode, kind: Kind, marker: str) -> dict[str, Any]:
    """Have the agent ask for its tool; return the dialog as `novactl answer` shows it."""
    agent.wait_idle()
    agent.stub.mode = "tool"
    agent.send(f"{marker} USETOOL please")
    until(lambda: agent.state == "dialog", 30, f"the dialog of {agent.name}: {agent.lab.capture()}")
    agent.stub.mode = "text"
    assert kind.shows in agent.lab.capture()
    dialog: dict[str, Any] = agent.node.call("dialog_answer", {"agent_id": agent.name})["dialog"]
    return dialog


def answer(agent: AgentNode, choice: str, fingerprint: str) -> dict[str, Any]:
    args = {"agent_id": agent.name, "choice": choice, "fingerprint": fingerprint}
    return dict(agent.node.call("dialog_answer", args, timeout_s=30))


@pytest.mark.parametrize("kind", KINDS)
def test_a_tool_is_allowed_once_and_refused_once_and_only_in_the_dialog_that_was_shown(kind: Kind) -> None:
    with agent_node(kind.lab, hooked=False, env=kind.env) as agent:
        ran = agent.directory / "toolran"
        dialog = open_dialog(agent, kind, "[[one]]")
        assert tuple(option["key"] for option in dialog["options"]) == kind.keys
        message = agent.send("[[after]] and then this")
        assert agent.node.wait_state(message, "held")["reason"] == "dialog"
        with pytest.raises(Conflict, match="another dialog is open"):
            answer(agent, kind.once, "00000000")
        assert agent.state == "dialog"
        assert not ran.exists()

        done = answer(agent, kind.once, dialog["fingerprint"])
        assert done["outcome"] == "gone"
        until(ran.exists, 20, "the tool")
        ran.unlink()
        agent.node.wait_state(message, "submitted", timeout_s=60)
        agent.wait_received("[[after]]")
        agent.wait_idle()
        with pytest.raises(Conflict, match="no dialog is open"):
            answer(agent, kind.once, dialog["fingerprint"])

        dialog = open_dialog(agent, kind, "[[two]]")
        done = answer(agent, kind.never, dialog["fingerprint"])
        assert done["outcome"] == "gone"
        agent.wait_idle()
        time.sleep(0.5)  # a tool that had been allowed would have run by then
        assert not ran.exists()


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_ten_answers_in_a_row_each_do_what_they_say(kind: Kind) -> None:
    with agent_node(kind.lab, hooked=False, env=kind.env) as agent:
        ran = agent.directory / "toolran"
        for number in range(10):
            dialog = open_dialog(agent, kind, f"[[t-{number}]]")
            allowed = number % 3 == 0
            done = answer(agent, kind.once if allowed else kind.never, dialog["fingerprint"])
            assert done["outcome"] == "gone", (done, agent.lab.capture())
            agent.wait_idle()
            time.sleep(0.3)
            assert ran.exists() is allowed, (number, agent.lab.capture())
            ran.unlink(missing_ok=True)


@pytest.mark.long
@needs(OpencodeLab)
def test_opencode_asks_again_before_it_allows_always() -> None:
    with agent_node(OpencodeLab, hooked=False) as agent:
        dialog = open_dialog(agent, OPENCODE, "[[one]]")
        done = answer(agent, "allow always", dialog["fingerprint"])
        assert done["outcome"] == "another"
        assert [option["text"] for option in done["dialog"]["options"]] == ["Confirm", "Cancel"]
        done = answer(agent, "cancel", done["dialog"]["fingerprint"])
        assert done["outcome"] == "another"
        assert not (agent.directory / "toolran").exists()
        done = answer(agent, "reject", done["dialog"]["fingerprint"])
        assert done["outcome"] == "gone"
        agent.wait_idle()
        assert not (agent.directory / "toolran").exists()
