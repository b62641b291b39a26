"""A real Codex gets every message exactly once, and no state is claimed without proof."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab.codex import CodexLab
from tests.live.agent_node import AgentNode, agent_node, needs
from tests.live.mixed import COUNTS, run_mixed
from tests.support.node import until

pytestmark = [pytest.mark.live, pytest.mark.timeout(600), needs(CodexLab)]

ASKED = "Would you like to run"


def submit(codex: AgentNode, text: str) -> None:
    """Do what a person does: paste a prompt, press Enter."""
    assert isinstance(codex.lab, CodexLab)
    codex.lab.submit(text)


def pause(seconds: float) -> None:
    """Let time pass: here the moment is what is tested."""
    time.sleep(seconds)


@COUNTS
def test_mixed_messages_with_hooks_end_acknowledged_and_reach_the_model_once(count: int) -> None:
    with agent_node(CodexLab, hooked=True) as codex:
        run_mixed(codex, "acknowledged", count=count)


@pytest.mark.long
def test_fifty_mixed_messages_without_hooks_end_submitted_and_reach_the_model_once() -> None:
    with agent_node(CodexLab, hooked=False) as codex:
        run_mixed(codex, "submitted")


@pytest.mark.long
def test_a_message_sent_just_after_the_start_is_held_until_the_agent_is_ready_and_arrives_once() -> None:
    with agent_node(CodexLab, hooked=True, wait_ready=False) as codex:
        message = codex.send("[[early]] are you there?")
        codex.node.wait_state(message, "acknowledged", timeout_s=60)
        codex.wait_received("[[early]]")


@pytest.mark.long
def test_a_half_typed_draft_holds_the_message_and_is_left_as_it_is() -> None:
    with agent_node(CodexLab, hooked=True) as codex:
        codex.lab.tmux("send-keys", "-t", codex.lab.pane, "-l", "half a thought")
        codex.lab.wait_for("› half a thought")
        message = codex.send("[[late]] go on")
        until(lambda: codex.node.receipt(message)["reason"] == "draft", 20, "the hold for the draft")
        assert "› half a thought" in codex.lab.capture()
        assert codex.received("[[late]]") == 0
        codex.lab.tmux("send-keys", "-t", codex.lab.pane, "Enter")
        codex.node.wait_state(message, "acknowledged")
        codex.wait_received("[[late]]")
        codex.wait_received("half a thought")


@pytest.mark.long
def test_a_message_that_steers_a_turn_with_a_tool_is_acknowledged() -> None:
    with agent_node(CodexLab, hooked=True) as codex:
        codex.stub.mode, codex.stub.delay_s = "tool", 2.0
        submit(codex, "[[tool]] USETOOL please")
        codex.wait_received("[[tool]]")
        message = codex.send("[[within]] and one more thing")
        codex.node.wait_state(message, "submitted", "acknowledged", "held")
        codex.stub.delay_s = 0
        codex.lab.wait_for(lambda screen: ASKED in screen or "STUB-OK" in screen, 30)
        codex.stub.mode = "text"
        if ASKED in codex.lab.capture():
            codex.lab.tmux("send-keys", "-t", codex.lab.pane, "y")  # a person allows the tool
        codex.node.wait_state(message, "acknowledged", timeout_s=40)
        codex.wait_received("[[within]]")


def test_a_message_for_an_agent_that_asks_is_held_until_a_person_has_answered() -> None:
    with agent_node(CodexLab, hooked=True) as codex:
        codex.stub.mode = "tool"
        submit(codex, "[[tool]] USETOOL please")
        codex.lab.wait_for(ASKED, 20)
        message = codex.send("[[behind]] when you have time")
        until(lambda: codex.node.receipt(message)["reason"] == "dialog", 20, "the hold for the dialog")
        pause(1.0)
        assert ASKED in codex.lab.capture()
        codex.stub.mode = "text"
        codex.lab.tmux("send-keys", "-t", codex.lab.pane, "y")
        codex.node.wait_state(message, "acknowledged", timeout_s=40)
        codex.wait_received("[[behind]]")
        assert (codex.directory / "toolran").exists()


@pytest.mark.long
def test_an_agent_that_exits_to_its_shell_holds_messages() -> None:
    with agent_node(CodexLab, hooked=True, in_shell=True) as codex:
        submit(codex, "/quit")
        until(lambda: codex.lab.server.value(codex.lab.pane, "pane_current_command") == "bash", 20)
        message = codex.send("[[away]] $(touch ran) `touch ran`")
        held = codex.node.wait_state(message, "held")
        assert held["reason"] == "no_agent"
        assert "[[away]]" not in codex.lab.capture()


@pytest.mark.long
def test_hooks_of_the_server_that_several_share_claim_nothing() -> None:
    with agent_node(CodexLab, hooked=True) as codex:
        command = str(CodexLab.installed().find())
        panes = []
        for _ in range(2):  # the first starts the server, which then runs the hooks of both in its own pane
            panes.append(codex.lab.server.open(command, directory=codex.directory))
            codex.lab.server.wait_for(panes[-1], lambda screen: CodexLab.composer(screen) is not None, 60)
        for name, pane in zip(("one", "two"), panes, strict=True):
            codex.node.register(name, pane, "codex")
        for name in ("two", "one"):
            message = str(codex.node.send(name, f"[[{name}]] hello")["id"])
            codex.node.wait_state(message, "submitted", timeout_s=60)
            codex.wait_received(f"[[{name}]]")


def try_dialog(codex: AgentNode, number: int, offset_s: float, state: str) -> None:
    """Open an approval dialog about `offset_s` before or after a message is typed, and refuse it."""
    marker = f"[[d-{number}]]"
    codex.stub.mode, codex.stub.delay_s = "tool", 0.6
    submit(codex, f"[[t-{number}]] USETOOL")
    codex.stub.wait_received(f"[[t-{number}]]")
    wake_s = 0.6 + offset_s
    if wake_s > 0:
        pause(wake_s)
    message = codex.send(f"{marker} a message near a dialog")
    codex.lab.wait_for(ASKED, 20)
    codex.stub.mode, codex.stub.delay_s = "text", 0.0
    pause(0.5)
    assert ASKED in codex.lab.capture()
    codex.lab.tmux("send-keys", "-t", codex.lab.pane, "Escape")
    codex.node.wait_state(message, state, timeout_s=40)
    codex.wait_received(marker)
    codex.wait_idle()
    assert not (codex.directory / "toolran").exists()


@pytest.mark.long
@pytest.mark.parametrize("hooked", [True, False])
def test_a_dialog_opening_around_the_enter_is_never_approved(hooked: bool) -> None:
    rng = random.Random(11)
    offsets = [rng.uniform(-0.2, 2.0) for _ in range(40)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda part: _dialogs(hooked, part), (offsets[::2], offsets[1::2])))


def _dialogs(hooked: bool, offsets: list[float]) -> None:
    with agent_node(CodexLab, hooked=hooked) as codex:
        for number, offset_s in enumerate(offsets):
            try_dialog(codex, number, offset_s, "acknowledged" if hooked else "submitted")
