"""A real Claude Code loses our paste when somebody's Enter comes with it: what is lost is typed again, once.

Claude drops a text that it reads together with the Enter that sends what somebody else has typed. tmux is told here
to press theirs around each paste of ours, at the very moment.
"""

from __future__ import annotations

import time
from collections import Counter

import pytest

from noval_d.delivery.typist import LOST
from tests.lab.claude import ClaudeLab
from tests.live.agent_node import needs
from tests.live.claude_node import ClaudeNode, claude_node
from tests.support.node import until

pytestmark = [pytest.mark.live, pytest.mark.long, pytest.mark.timeout(900), needs(ClaudeLab)]

TRIES = 40
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
