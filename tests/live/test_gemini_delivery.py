"""A real Gemini CLI gets every message exactly once, and no state is claimed without proof."""

from __future__ import annotations

import random
import time

import pytest

from tests.lab.gemini import GeminiLab
from tests.live.agent_node import AgentNode, agent_node, needs
from tests.live.mixed import COUNTS, run_mixed
from tests.support.node import until

pytestmark = [pytest.mark.live, pytest.mark.timeout(400), needs(GeminiLab)]

DIALOG = "1. Allow once"
TRIES = 20  # with and without hooks, and two kinds of moments: eighty


def submit(gemini: AgentNode, text: str) -> None:
    assert isinstance(gemini.lab, GeminiLab)
    gemini.lab.submit(text)


@COUNTS
def test_mixed_messages_with_hooks_end_acknowledged_and_reach_the_model_once(count: int) -> None:
    with agent_node(GeminiLab, hooked=True) as gemini:
        run_mixed(gemini, "acknowledged", count=count)


@pytest.mark.long
def test_fifty_mixed_messages_without_hooks_end_submitted_and_reach_the_model_once() -> None:
    with agent_node(GeminiLab, hooked=False) as gemini:
        run_mixed(gemini, "submitted")


@pytest.mark.long
def test_a_message_sent_just_after_the_start_is_held_until_the_agent_is_ready_and_arrives_once() -> None:
    with agent_node(GeminiLab, hooked=True, wait_ready=False) as gemini:
        message = gemini.send("[[early]] are you there?")
        gemini.node.wait_state(message, "acknowledged", timeout_s=60)
        gemini.wait_received("[[early]]")


@pytest.mark.long
def test_a_half_typed_draft_holds_the_message_and_is_left_as_it_is() -> None:
    with agent_node(GeminiLab, hooked=True) as gemini:
        gemini.lab.tmux("send-keys", "-t", gemini.lab.pane, "-l", "half a thought")
        gemini.lab.wait_for("half a thought")
        message = gemini.send("[[late]] go on")
        until(lambda: gemini.node.receipt(message)["reason"] == "draft", 20, "the hold for the draft")
        pause(1.0)
        assert "> half a thought\n" in gemini.lab.capture()
        assert gemini.received("[[late]]") == 0
        gemini.lab.tmux("send-keys", "-t", gemini.lab.pane, "Enter")
        gemini.node.wait_state(message, "acknowledged")
        gemini.wait_received("[[late]]")
        gemini.wait_received("half a thought")


@pytest.mark.long
def test_shell_mode_holds_the_message_although_nothing_stands_there() -> None:
    with agent_node(GeminiLab, hooked=True) as gemini:
        gemini.lab.tmux("send-keys", "-t", gemini.lab.pane, "-l", "!")
        gemini.lab.wait_for("shell mode enabled")
        message = gemini.send("[[shell]] touch toolran")
        until(lambda: gemini.node.receipt(message)["reason"] == "draft", 20, "the hold for the shell mode")
        gemini.lab.tmux("send-keys", "-t", gemini.lab.pane, "Escape")
        gemini.node.wait_state(message, "acknowledged")
        gemini.wait_received("[[shell]]")
        assert not (gemini.directory / "toolran").exists()


@pytest.mark.long
def test_an_agent_that_exits_to_its_shell_holds_messages_until_it_is_back() -> None:
    with agent_node(GeminiLab, hooked=True, in_shell=True) as gemini:
        submit(gemini, "/quit")
        until(lambda: gemini.lab.server.value(gemini.lab.pane, "pane_current_command") == "bash", 20)
        message = gemini.send("[[away]] $(touch ran) `touch ran`")
        held = gemini.node.wait_state(message, "held")
        assert held["reason"] == "no_agent"
        assert "[[away]]" not in gemini.lab.capture()


def try_dialog(gemini: AgentNode, number: int, offset_s: float, state: str) -> None:
    """Open an approval dialog about `offset_s` before or after a message is sent, and refuse it."""
    marker = f"[[d-{number}]]"
    gemini.stub.mode, gemini.stub.delay_s = "tool", 0.6
    submit(gemini, f"[[t-{number}]] USETOOL")
    gemini.stub.wait_received(f"[[t-{number}]]")
    wake_s = 0.6 + offset_s
    if wake_s > 0:
        pause(wake_s)
    message = gemini.send(f"{marker} a message near a dialog")
    gemini.lab.wait_for(DIALOG, 20)
    gemini.stub.mode, gemini.stub.delay_s = "text", 0.0
    pause(0.5)
    assert DIALOG in gemini.lab.capture()
    gemini.lab.tmux("send-keys", "-t", gemini.lab.pane, "Escape")
    gemini.node.wait_state(message, state, timeout_s=40)
    gemini.wait_received(marker)
    assert not (gemini.directory / "toolran").exists()


def try_turn(gemini: AgentNode, number: int, offset_s: float, state: str) -> None:
    """Send a message, and let a turn that ends in an approval dialog begin `offset_s` later on its own.

    The turn is that of another message, sent just before: the second one's paste and Enter come while the first
    turn begins, and while its dialog opens 20 ms later.
    """
    gemini.stub.mode, gemini.stub.delay_s = "tool", 0.02
    first = gemini.send(f"[[u-{number}]] USETOOL")
    pause(offset_s)
    second = gemini.send(f"[[v-{number}]] near the turn's begin")
    gemini.lab.wait_for(DIALOG, 20)
    gemini.stub.mode, gemini.stub.delay_s = "text", 0.0
    pause(0.5)
    assert DIALOG in gemini.lab.capture()
    gemini.lab.tmux("send-keys", "-t", gemini.lab.pane, "Escape")
    for message, marker in ((first, f"[[u-{number}]]"), (second, f"[[v-{number}]]")):
        gemini.node.wait_state(message, state, timeout_s=40)
        gemini.wait_received(marker)
    assert not (gemini.directory / "toolran").exists()


def pause(seconds: float) -> None:
    """Let time pass: here the moment is what is tested."""
    time.sleep(seconds)


@pytest.mark.long
@pytest.mark.parametrize("hooked", [True, False])
def test_a_dialog_opening_around_the_enter_is_never_approved(hooked: bool) -> None:
    rng = random.Random(11)
    state = "acknowledged" if hooked else "submitted"
    with agent_node(GeminiLab, hooked=hooked) as gemini:
        for number in range(TRIES):
            try_dialog(gemini, number, rng.uniform(-0.2, 2.0), state)


@pytest.mark.long
@pytest.mark.parametrize("hooked", [True, False])
def test_a_turn_beginning_around_the_paste_and_its_dialog_are_never_approved(hooked: bool) -> None:
    rng = random.Random(12)
    state = "acknowledged" if hooked else "submitted"
    with agent_node(GeminiLab, hooked=hooked) as gemini:
        for number in range(TRIES):
            try_turn(gemini, number, rng.uniform(0.0, 1.0), state)
