"""A real Claude Code gets every message exactly once, and no state is claimed without proof."""

from __future__ import annotations

import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab.claude import ClaudeLab
from tests.live.agent_node import needs
from tests.live.claude_node import ClaudeNode, claude_node
from tests.live.mixed import COUNTS, run_mixed
from tests.support.node import until

pytestmark = [pytest.mark.live, pytest.mark.timeout(600), needs(ClaudeLab)]


@COUNTS
def test_mixed_messages_with_hooks_end_acknowledged_and_reach_the_model_once(count: int) -> None:
    with claude_node(hooked=True) as claude:
        run_mixed(claude, "acknowledged", count=count)


@COUNTS
def test_mixed_messages_without_hooks_end_submitted_and_reach_the_model_once(count: int) -> None:
    with claude_node(hooked=False) as claude:
        run_mixed(claude, "submitted", count=count)


def test_a_message_sent_just_after_the_start_is_held_until_the_agent_is_ready_and_arrives_once() -> None:
    with claude_node(hooked=True, wait_ready=False) as claude:
        message = claude.send("[[early]] are you there?")
        claude.node.wait_state(message, "acknowledged", timeout_s=60)
        claude.wait_received("[[early]]")


def test_a_half_typed_draft_holds_the_message_and_is_left_as_it_is() -> None:
    with claude_node(hooked=True) as claude:
        claude.lab.tmux("send-keys", "-t", claude.lab.pane, "-l", "half a thought")
        claude.lab.wait_for("half a thought")
        message = claude.send("[[late]] go on")
        until(lambda: claude.node.receipt(message)["reason"] == "draft", 20, "the hold for the draft")
        assert "❯ half a thought" in claude.lab.capture().replace("\u00a0", " ")
        assert claude.received("[[late]]") == 0
        claude.lab.tmux("send-keys", "-t", claude.lab.pane, "Enter")
        claude.node.wait_state(message, "acknowledged")
        claude.wait_received("[[late]]")
        claude.wait_received("half a thought")


def test_a_message_that_is_handed_over_within_a_tool_turn_is_acknowledged() -> None:
    with claude_node(hooked=True) as claude:
        claude.stub.mode = "tool"
        claude.stub.delay_s = 2.0
        claude.lab.submit("[[tool]] USETOOL please")
        claude.wait_received("[[tool]]")
        message = claude.send("[[within]] and one more thing")
        claude.node.wait_state(message, "submitted", "acknowledged")
        claude.lab.wait_for("Do you want", 30)
        claude.stub.delay_s = 0
        claude.lab.tmux("send-keys", "-t", claude.lab.pane, "1")  # a person allows the tool
        claude.node.wait_state(message, "acknowledged", timeout_s=40)
        claude.wait_received("[[within]]")


def test_an_agent_that_exits_to_its_shell_holds_messages_until_it_is_back() -> None:
    with claude_node(hooked=True, in_shell=True) as claude:
        claude.lab.submit("/exit")
        until(lambda: claude.lab.server.value(claude.lab.pane, "pane_current_command") != "claude", 20)
        message = claude.send("[[away]] $(touch ran) `touch ran`")
        held = claude.node.wait_state(message, "held")
        assert held["reason"] == "no_agent"
        assert "[[away]]" not in claude.lab.capture()


def try_dialog(claude: ClaudeNode, number: int, offset_s: float, state: str) -> None:
    """Open a permission dialog about `offset_s` before or after a message is typed, and refuse it."""
    marker = f"[[d-{number}]]"
    claude.wait_idle()  # what is sent as a turn ends is taken, and may stay in the box all the same
    claude.stub.mode, claude.stub.delay_s = "tool", 0.6
    claude.lab.submit(f"[[t-{number}]] USETOOL")
    claude.stub.wait_received(f"[[t-{number}]]")
    wake_s = 0.6 + offset_s
    if wake_s > 0:
        pause(wake_s)
    message = claude.send(f"{marker} a message near a dialog")
    claude.lab.wait_for("Do you want", 20)
    claude.stub.mode, claude.stub.delay_s = "text", 0.0
    pause(0.5)
    assert "Do you want" in claude.lab.capture()
    claude.lab.tmux("send-keys", "-t", claude.lab.pane, "Escape")
    until(lambda: proven(claude, message, state, f"[[t-{number}]]"), 40, f"{state} of {marker}")
    claude.wait_received(marker)
    assert not (claude.directory / "toolran").exists()


def proven(claude: ClaudeNode, message: str, state: str, prompt: str) -> bool:
    """Tell whether a message is in this state, as a person who takes away a prompt that Claude gave back."""
    receipt = claude.node.receipt(message)
    if receipt["state"] == state:
        return True
    assert not receipt["final"], receipt
    if claude.state == "draft" and prompt in (claude.lab.composer(claude.lab.capture()) or ""):
        claude.lab.server.press(claude.lab.pane, "C-u", "C-k")
    return False


def pause(seconds: float) -> None:
    """Let time pass: here the moment is what is tested."""
    time.sleep(seconds)


@pytest.mark.parametrize(
    ("hooked", "tries"),
    [(True, 24), *(pytest.param(hooked, 50, marks=pytest.mark.long) for hooked in (True, False))],
)
def test_a_dialog_opening_around_the_enter_is_never_approved(hooked: bool, tries: int) -> None:
    rng = random.Random(11)
    from_s, to_s = -0.2, 2.0
    each_s = (to_s - from_s) / tries  # one moment at random in each such part: no two of them the same
    offsets = [from_s + (number + rng.random()) * each_s for number in range(tries)]
    rng.shuffle(offsets)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda part: _dialogs(hooked, part), (offsets[::2], offsets[1::2])))


def _dialogs(hooked: bool, offsets: list[float]) -> None:
    with claude_node(hooked=hooked) as claude:
        for number, offset_s in enumerate(offsets):
            try_dialog(claude, number, offset_s, "acknowledged" if hooked else "submitted")


def test_a_daemon_killed_around_paste_and_enter_delivers_once() -> None:
    rng = random.Random(5)
    with claude_node(hooked=True) as claude:
        first = claude.send("[[first]] hello")
        claude.node.wait_state(first, "acknowledged")
        for number in range(10):
            message = claude.send(f"[[k-{number}]] survive this")
            pause(rng.uniform(0.0, 0.4))
            claude.node.kill()
            claude.node.start()
            claude.node.wait_up()
            claude.node.wait_state(message, "acknowledged", timeout_s=60)
            claude.wait_received(f"[[k-{number}]]")


@pytest.mark.long
def test_an_enter_that_sat_in_a_stopped_tmux_server_approves_nothing() -> None:
    rng = random.Random(6)
    with claude_node(hooked=True) as claude:
        server = int(claude.lab.server.value(claude.lab.pane, "pid"))
        for number in range(8):
            claude.stub.mode, claude.stub.delay_s = "tool", 0.6
            claude.lab.submit(f"[[t-{number}]] USETOOL")
            claude.stub.wait_received(f"[[t-{number}]]")
            pause(rng.uniform(0.0, 0.6))
            message = claude.send(f"[[s-{number}]] near a dialog and a stop")
            pause(rng.uniform(0.0, 0.25))
            os.kill(server, signal.SIGSTOP)
            pause(2.5)
            os.kill(server, signal.SIGCONT)
            claude.lab.wait_for("Do you want", 20)
            claude.stub.mode, claude.stub.delay_s = "text", 0.0
            pause(0.7)
            assert "Do you want" in claude.lab.capture()
            claude.lab.tmux("send-keys", "-t", claude.lab.pane, "Escape")
            claude.node.wait_state(message, "acknowledged", timeout_s=40)
            claude.wait_received(f"[[s-{number}]]")
            assert not (claude.directory / "toolran").exists()
