"""A real Claude Code loses our paste when somebody's Enter comes with it: what is lost is typed again, once.

Claude drops a text that it reads together with the Enter that sends what somebody else has typed, or with keys of
theirs. tmux is told here to press theirs around each paste of ours, at the very moment.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from noval_d.delivery.typist import LOST
from tests.lab.claude import ClaudeLab
from tests.live.agent_node import needs
from tests.live.claude_node import ClaudeNode, claude_node
from tests.support.node import until

pytestmark = [pytest.mark.live, pytest.mark.long, pytest.mark.timeout(900), needs(ClaudeLab)]

TRIES = 40
BESIDE_KEYS = 5  # each is lost at least once
BESIDE = "somebody else's text was sent with it"
OURS = "one of our own messages, sent with proof"


def beside_the_next_paste(claude: ClaudeNode, number: int) -> None:
    """Have tmux type theirs right before our next paste and press Enter right behind it."""
    pane, tmux = claude.lab.pane, claude.lab.tmux
    tmux(
        "set-hook",
        "-g",
        "after-load-buffer",
        f"send-keys -t {pane} '[[t-{number}]] theirs' ; set-hook -gu after-load-buffer",
    )
    tmux(
        "set-hook", "-g", "after-paste-buffer", f"send-keys -t {pane} Enter ; set-hook -gu after-paste-buffer"
    )


def behind_the_next_paste(claude: ClaudeNode, number: int) -> None:
    """Have tmux type theirs right behind our next paste: Claude reads both at once."""
    keys = f"send-keys -t {claude.lab.pane} '[[b-{number}]] theirs'"
    claude.lab.tmux("set-hook", "-g", "after-paste-buffer", f"{keys} ; set-hook -gu after-paste-buffer")


@contextlib.contextmanager
def typing_without_end(claude: ClaudeNode) -> Iterator[None]:
    """Type as the original does, one text after the other; the box is never empty for long."""
    over = threading.Event()

    def types() -> None:
        for number in itertools.count():
            claude.lab.tmux("send-keys", "-t", claude.lab.pane, f"[[e-{number}]] theirs")
            time.sleep(0.5)
            claude.lab.tmux("send-keys", "-t", claude.lab.pane, "Enter")
            if over.wait(0.35):
                return

    somebody = threading.Thread(target=types, name="theirs")
    somebody.start()
    try:
        yield
    finally:
        over.set()
        somebody.join()


def lines_with(claude: ClaudeNode, marker: str) -> list[str]:
    return [line for prompt in claude.stub.prompts() for line in prompt.splitlines() if marker in line]


def settles(claude: ClaudeNode, message: str) -> bool:
    """Tell whether a message has its verdict; theirs sends both when they stand there together."""
    receipt = claude.node.receipt(message)
    if receipt["reason"] == "mixed" and receipt["state"] == "typed":
        claude.lab.tmux("send-keys", "-t", claude.lab.pane, "Enter")
        time.sleep(0.5)
    return receipt["state"] in ("acknowledged", "unconfirmed")


def test_what_claude_loses_is_typed_again_once() -> None:
    fates: Counter[str] = Counter()
    with claude_node(hooked=True) as claude:
        first = claude.node.send_wait(
            claude.name, "[[first]] a prompt to be told of", wait="acknowledged", timeout_s=90
        )
        assert first["state"] == "acknowledged"
        for number in range(TRIES):
            claude.wait_idle()
            beside_the_next_paste(claude, number)
            message, marker = claude.send(f"[[o-{number}]] {OURS}"), f"[[o-{number}]]"
            until(lambda message=message: settles(claude, message), 90, f"the verdict of {marker}")  # type: ignore[misc]
            last = claude.node.receipt(message)
            hops = claude.node.call("trace", {"id": message})["hops"]
            lost = any(hop["reason"] == LOST for hop in hops)
            if last["state"] == "acknowledged":
                until(lambda marker=marker: claude.received(marker), 30, f"{marker} at the model")  # type: ignore[misc]
            lines = lines_with(claude, marker)
            fates[
                f"{'lost, ' if lost else ''}{last['state']} {last['reason']}, {len(lines)} at the model"
            ] += 1
            if lost:
                assert last["state"] == "acknowledged", hops
            assert len(lines) == (1 if last["state"] == "acknowledged" else len(lines)) <= 1, (hops, lines)
        print("fates:", dict(fates))
        time.sleep(60)  # nothing comes later
        for number in range(TRIES):
            assert len(lines_with(claude, f"[[o-{number}]]")) <= 1


def test_what_claude_loses_while_somebody_types_without_end_is_typed_again_once() -> None:
    with claude_node(hooked=True) as claude:
        claude.wait_idle()
        claude.node.send_wait(claude.name, "[[first]] to be told of", wait="acknowledged", timeout_s=90)
        lost = 0
        for number in range(BESIDE_KEYS):
            claude.stub.delay_s = (0.0, 0.3, 0.8)[number % 3]
            behind_the_next_paste(claude, number)
            with typing_without_end(claude):
                message, marker = claude.send(f"[[o-{number}]] {OURS}"), f"[[o-{number}]]"

                def known(message: str = message) -> str:
                    hops = claude.node.call("trace", {"id": message})["hops"]
                    if any(hop["reason"] == LOST for hop in hops):
                        return "lost"
                    return "over" if hops[-1]["state"] in ("acknowledged", "unconfirmed") else ""

                lost += until(known, 58, f"what became of {marker}") == "lost"
            claude.stub.delay_s = 0.0
            last = claude.node.wait_state(message, "acknowledged", "unconfirmed", timeout_s=90)
            assert last["state"] == "acknowledged", last
            until(lambda marker=marker: claude.received(marker), 30, f"{marker} at the model")  # type: ignore[misc]
            assert len(lines_with(claude, marker)) == 1
            claude.wait_idle()
        print("lost, and typed again while somebody typed without end:", lost)
        assert lost > 0
