"""A real aider gets every message exactly once, and no state is claimed without proof."""

from __future__ import annotations

import random
import time

import pytest

from tests.lab.aider import AiderLab
from tests.live.agent_node import AgentNode, agent_node, needs
from tests.live.mixed import COUNTS, MESSAGES, run_mixed
from tests.support.node import until

pytestmark = [pytest.mark.live, pytest.mark.timeout(600), needs(AiderLab)]


@COUNTS
@pytest.mark.timeout(1800)  # after 50 KB a turn takes aider 13 s and more: 206 of 232 s for 15, ours 5
def test_mixed_messages_end_submitted_and_reach_the_model_once(count: int) -> None:
    with agent_node(AiderLab, hooked=False) as aider:
        run_mixed(aider, "submitted", count=count, timeout_s=600, longest_last=count < MESSAGES)


@pytest.mark.long
def test_what_is_submitted_stands_in_aiders_own_record_however_long_the_model_waits_for_it() -> None:
    """aider counts the tokens of the whole conversation before it asks the model: seconds, after 50 KB."""
    with agent_node(AiderLab, hooked=False) as aider:
        late = 0
        for number, body in enumerate(["y" * 50_000, *["short"] * 9]):
            marker = f"[[r-{number}]]"
            aider.node.wait_state(aider.send(f"{marker} {body}"), "submitted", timeout_s=60)
            late += aider.received(marker) == 0
            assert marker in (aider.directory / ".aider.chat.history.md").read_text(encoding="utf-8")
            aider.wait_received(marker, timeout_s=60)
        assert late


@pytest.mark.long
def test_a_message_sent_just_after_the_start_is_held_until_the_agent_is_ready_and_arrives_once() -> None:
    with agent_node(AiderLab, hooked=False, wait_ready=False) as aider:
        message = aider.send("[[early]] are you there?")
        aider.node.wait_state(message, "submitted", timeout_s=60)
        aider.wait_received("[[early]]")


@pytest.mark.long
def test_a_half_typed_draft_holds_the_message_and_is_left_as_it_is() -> None:
    with agent_node(AiderLab, hooked=False) as aider:
        aider.lab.tmux("send-keys", "-t", aider.lab.pane, "-l", "half a thought")
        aider.lab.wait_for("half a thought")
        message = aider.send("[[late]] go on")
        until(lambda: aider.node.receipt(message)["reason"] == "draft", 20, "the hold for the draft")
        assert aider.lab.composer(aider.lab.capture()) == "half a thought"
        assert aider.received("[[late]]") == 0
        aider.lab.server.press(aider.lab.pane, "Enter")
        aider.node.wait_state(message, "submitted")
        aider.wait_received("[[late]]")
        aider.wait_received("half a thought")


@pytest.mark.long
def test_an_agent_that_exits_to_its_shell_or_to_a_bare_python_holds_messages() -> None:
    with agent_node(AiderLab, hooked=False, in_shell=True) as aider:
        lab = aider.lab
        lab.server.press(lab.pane, "C-d")
        until(lambda: lab.server.value(lab.pane, "pane_current_command") == "bash", 20)
        message = aider.send("[[away]] $(touch ran) `touch ran`")
        assert aider.node.wait_state(message, "held")["reason"] == "no_agent"
        lab.tmux("send-keys", "-t", lab.pane, "-l", "exec python3 -c 'input(\"> \")'")
        lab.server.press(lab.pane, "Enter")
        until(lambda: lab.server.value(lab.pane, "pane_current_command").startswith("python"), 20)
        pause(5.0)  # longer than it takes a prompt to count as ready
        assert aider.node.receipt(message)["reason"] == "no_agent"
        assert "[[away]]" not in lab.capture()


@pytest.mark.long
def test_a_question_asked_around_a_message_is_never_answered() -> None:
    rng = random.Random(11)
    with agent_node(AiderLab, hooked=False) as aider:
        for number in range(40):
            try_question(aider, number, rng.uniform(-0.2, 2.0))


def try_question(aider: AgentNode, number: int, offset_s: float) -> None:
    """Make aider ask about an address about `offset_s` before or after a message is sent, and answer no.

    It asks as soon as a prompt that names one was entered, so that prompt is entered in between.
    """
    marker, lab = f"[[d-{number}]]", aider.lab
    lab.wait_for(lambda screen: lab.composer(screen) == "", 90)  # what is typed ahead is another test
    lab.server.paste(lab.pane, f"[[t-{number}]] see http://127.0.0.1:9/page-{number}")
    lab.wait_for(f"page-{number}")
    if offset_s < 0:
        message = aider.send(f"{marker} a message near a question")
        pause(-offset_s)
        lab.server.press(lab.pane, "Enter")
    else:
        lab.server.press(lab.pane, "Enter")
        pause(offset_s)
        message = aider.send(f"{marker} a message near a question")
    lab.wait_for(lambda screen: "(Y)es/(N)o" in screen.rstrip().rpartition("\n")[2], 20)
    pause(0.6)
    assert "(Y)es/(N)o" in lab.capture().rstrip().rpartition("\n")[2]
    lab.tmux("send-keys", "-t", lab.pane, "n", "Enter")
    aider.node.wait_state(message, "submitted", timeout_s=40)
    aider.wait_received(marker)
    aider.wait_received(f"[[t-{number}]]")


@pytest.mark.long
def test_a_message_that_waits_while_a_person_types_ahead_arrives_once_and_answers_no_question() -> None:
    """It makes aider ask as its prompt comes back: pasted in that moment, a message lands in the question.

    The wait for a prompt that has rested makes that rare (3 of 52 before, 0 of 65 with it), not impossible on a
    starved machine. Then the person's answer behind it is none, and it is asked again.
    """
    with agent_node(AiderLab, hooked=False) as aider:
        for number in range(20):
            type_ahead(aider, number)


def asks(screen: str) -> bool:
    return "(Y)es/(N)o" in screen.rstrip().rpartition("\n")[2]


def type_ahead(aider: AgentNode, number: int) -> None:
    marker, lab = f"[[d-{number}]]", aider.lab
    lab.wait_for(lambda screen: lab.composer(screen) == "", 90)
    aider.stub.delay_s = 1.0
    lab.server.paste(lab.pane, f"[[w-{number}]] work")
    lab.wait_for(f"[[w-{number}]]")
    lab.server.press(lab.pane, "Enter")
    aider.wait_received(f"[[w-{number}]]")
    message = aider.send(f"{marker} a message near a question")
    lab.server.paste(lab.pane, f"[[t-{number}]] see http://127.0.0.1:9/page-{number}")
    lab.server.press(lab.pane, "Enter")
    aider.stub.delay_s = 0.0
    lab.wait_for(asks, 60)
    pause(0.6)
    assert asks(lab.capture())
    for _ in range(2):
        lab.tmux("send-keys", "-t", lab.pane, "n", "Enter")
        pause(1.0)
        if not asks(lab.capture()):
            break
    aider.node.wait_state(message, "submitted", timeout_s=60)
    aider.wait_received(marker)
    aider.wait_received(f"[[t-{number}]]")


def pause(seconds: float) -> None:
    """Let time pass: here the moment is what is tested."""
    time.sleep(seconds)
