"""A real opencode gets every message exactly once, and no state is claimed without proof."""

from __future__ import annotations

import random
import time

import pytest

from tests.lab.opencode import OpencodeLab
from tests.live.agent_node import AgentNode, agent_node, needs
from tests.live.mixed import COUNTS, run_mixed
from tests.support.node import until

pytestmark = [pytest.mark.live, pytest.mark.timeout(600), needs(OpencodeLab)]


@COUNTS
def test_mixed_messages_end_submitted_and_reach_the_model_once(count: int) -> None:
    with agent_node(OpencodeLab, hooked=False) as opencode:
        run_mixed(opencode, "submitted", count=count)


def test_a_message_sent_just_after_the_start_is_held_until_the_agent_is_ready_and_arrives_once() -> None:
    with agent_node(OpencodeLab, hooked=False, wait_ready=False) as opencode:
        message = opencode.send("[[early]] are you there?")
        opencode.node.wait_state(message, "submitted", timeout_s=60)
        opencode.wait_received("[[early]]")


@pytest.mark.long
def test_a_half_typed_draft_holds_the_message_and_is_left_as_it_is() -> None:
    with agent_node(OpencodeLab, hooked=False) as opencode:
        assert isinstance(opencode.lab, OpencodeLab)
        opencode.lab.submit("[[first]] a prompt that opens the session")
        opencode.wait_received("[[first]]")
        opencode.wait_idle()
        opencode.lab.tmux("send-keys", "-t", opencode.lab.pane, "-l", "half a thought")
        opencode.lab.wait_for("half a thought")
        message = opencode.send("[[late]] go on")
        until(lambda: opencode.node.receipt(message)["reason"] == "draft", 20, "the hold for the draft")
        assert opencode.lab.composer(opencode.lab.capture()) == "half a thought"
        assert opencode.received("[[late]]") == 0
        opencode.lab.server.press(opencode.lab.pane, "Enter")
        opencode.node.wait_state(message, "submitted")
        opencode.wait_received("[[late]]")
        opencode.wait_received("half a thought")


@pytest.mark.long
def test_a_message_to_a_shell_prompt_is_held_and_nothing_is_run() -> None:
    with agent_node(OpencodeLab, hooked=False) as opencode:
        opencode.lab.tmux("send-keys", "-t", opencode.lab.pane, "!")
        opencode.lab.wait_for("exit shell mode")
        message = opencode.send("[[shell]] touch toolran")
        until(lambda: opencode.node.receipt(message)["reason"] == "draft", 20, "the hold for the mode")
        opencode.lab.server.press(opencode.lab.pane, "Escape")
        opencode.node.wait_state(message, "submitted")
        opencode.wait_received("[[shell]]")
        assert not (opencode.directory / "toolran").exists()


@pytest.mark.long
def test_an_agent_that_exits_to_its_shell_holds_messages() -> None:
    with agent_node(OpencodeLab, hooked=False, in_shell=True) as opencode:
        opencode.lab.server.press(opencode.lab.pane, "C-c")
        until(lambda: opencode.lab.server.value(opencode.lab.pane, "pane_current_command") == "bash", 20)
        message = opencode.send("[[away]] $(touch ran) `touch ran`")
        assert opencode.node.wait_state(message, "held")["reason"] == "no_agent"
        assert "[[away]]" not in opencode.lab.capture()


@pytest.mark.long
def test_a_permission_asked_for_around_a_message_is_never_granted() -> None:
    rng = random.Random(11)
    with agent_node(OpencodeLab, hooked=False) as opencode:
        for number in range(40):
            try_permission(opencode, number, rng.uniform(-0.2, 2.0))


def try_permission(opencode: AgentNode, number: int, offset_s: float) -> None:
    """Have a permission asked for about `offset_s` before or after a message is sent, and reject it."""
    marker = f"[[d-{number}]]"
    opencode.stub.mode, opencode.stub.delay_s = "tool", 0.6
    opencode.wait_idle()
    assert isinstance(opencode.lab, OpencodeLab)
    opencode.lab.submit(f"[[t-{number}]] USETOOL")
    opencode.stub.wait_received(f"[[t-{number}]]")
    pause(max(0.0, 0.6 + offset_s))
    message = opencode.send(f"{marker} a message near a dialog")
    opencode.lab.wait_for("Permission required", 20)
    opencode.stub.mode, opencode.stub.delay_s = "text", 0.0
    pause(0.5)
    assert "Permission required" in opencode.lab.capture()
    opencode.lab.server.press(opencode.lab.pane, "Escape")
    opencode.node.wait_state(message, "submitted", timeout_s=40)
    opencode.wait_received(marker)
    assert not (opencode.directory / "toolran").exists()


def pause(seconds: float) -> None:
    """Let time pass: here the moment is what is tested."""
    time.sleep(seconds)
