"""The original's way and ours into one pane of a real Claude Code at the same time: every verdict of ours is true.

The original's way (`tmux send-keys`, half a second, Enter) looks at nothing: its keys come between our paste and
our Enter, and its Enter sends whatever stands in the box, unless ours was taken back before. Claude itself drops
a text, or gives one back into its box, when keys come in the very moment of a paste or an Enter. So what is held
here is the truth of each verdict.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Mapping

import pytest

from noval_d.delivery.typist import LOST, TAKEN
from tests.lab.claude import ClaudeLab
from tests.live.agent_node import needs
from tests.live.claude_node import ClaudeNode, claude_node
from tests.support.node import until

pytestmark = [pytest.mark.live, pytest.mark.long, pytest.mark.timeout(600), needs(ClaudeLab)]

EACH = 20
PAUSE_S = 0.5  # the original's
BESIDE = "somebody else's text was sent with it"
OURS = "one of our own messages, sent with proof"  # longer than what proves nothing inside another prompt


def theirs(claude: ClaudeNode, rng: random.Random) -> None:
    """Type as the original does, at random moments."""
    for number in range(EACH):
        time.sleep(rng.uniform(0.0, 4.0))
        claude.lab.tmux("send-keys", "-t", claude.lab.pane, f"[[t-{number}]] theirs")
        time.sleep(PAUSE_S)
        claude.lab.tmux("send-keys", "-t", claude.lab.pane, "Enter")


def send_ours(claude: ClaudeNode, rng: random.Random) -> dict[str, str]:
    """Send at random moments, while the model is quick and slow; return the markers by message."""
    sent: dict[str, str] = {}
    for number in range(EACH):
        time.sleep(rng.uniform(0.0, 4.5))
        claude.stub.delay_s = rng.choice([0.0, 0.0, 0.5, 1.5])
        sent[claude.send(f"[[o-{number}]] {OURS}")] = f"[[o-{number}]]"
    return sent


def lines_with(claude: ClaudeNode, marker: str) -> list[str]:
    """Return the lines of prompts that hold a marker; what Claude joins from its queue has lines of its own."""
    return [line for prompt in claude.stub.prompts() for line in prompt.splitlines() if marker in line]


@pytest.mark.parametrize("seed", [3, 4])
def test_every_verdict_is_true_while_the_original_types_at_random_moments(seed: int) -> None:
    with claude_node(hooked=True) as claude:
        claude.wait_idle()
        other = threading.Thread(target=theirs, args=(claude, random.Random(seed + 100)), name="theirs")
        other.start()
        try:
            ours = send_ours(claude, random.Random(seed))
        finally:
            other.join()
        every_verdict_is_true(claude, ours)


STORM = 40
BEGIN_S = (-0.06, 0.16)  # theirs, from when ours is sent


def test_every_verdict_is_true_while_the_original_types_beside_each_of_ours() -> None:
    rng, ours = random.Random(5), dict[str, str]()
    with claude_node(hooked=True) as claude:
        claude.node.send_wait(claude.name, "[[first]] to be told of", wait="acknowledged", timeout_s=90)
        for number in range(STORM):
            claude.stub.delay_s = rng.choice([0.0, 0.0, 0.5, 1.5])
            theirs_at = time.monotonic() - BEGIN_S[0] + rng.uniform(*BEGIN_S)
            other = threading.Thread(target=types_at, args=(claude, number, theirs_at), name="theirs")
            other.start()
            time.sleep(-BEGIN_S[0])
            ours[last := claude.send(f"[[o-{number}]] {OURS}")] = f"[[o-{number}]]"
            other.join()
            until(lambda last=last: claude.node.receipt(last)["final"], 90, "its verdict")  # type: ignore[misc]
            time.sleep(rng.uniform(0.15, 0.85))
        every_verdict_is_true(claude, ours)
        assert {claude.node.receipt(message)["state"] for message in ours} == {"acknowledged"}


def types_at(claude: ClaudeNode, number: int, at_s: float) -> None:
    """Type as the original does, once, at a moment."""
    time.sleep(max(0.0, at_s - time.monotonic()))
    claude.lab.tmux("send-keys", "-t", claude.lab.pane, f"[[t-{number}]] theirs")
    time.sleep(PAUSE_S)
    claude.lab.tmux("send-keys", "-t", claude.lab.pane, "Enter")


def every_verdict_is_true(claude: ClaudeNode, ours: Mapping[str, str]) -> None:
    """Check the verdicts of all messages against what the model got, and print what became of them."""
    claude.stub.delay_s = 0.0
    until(lambda: all(claude.node.receipt(message)["final"] for message in ours), 120, "every verdict")
    claude.wait_idle()
    receipts = {marker: claude.node.receipt(message) for message, marker in ours.items()}
    claimed = {marker for marker, receipt in receipts.items() if receipt["state"] == "acknowledged"}
    for marker in claimed:
        until(lambda marker=marker: claude.received(marker), 30, f"{marker} at the model")  # type: ignore[misc]
    told = {marker: (receipts[marker], lines_with(claude, marker)) for marker in receipts}
    for marker, (receipt, lines) in told.items():
        alone = [line for line in lines if "theirs" not in line and line.count("[[") == 1]
        assert receipt["state"] in ("acknowledged", "unconfirmed"), told[marker]
        assert len(alone) <= 1, told[marker]  # never typed twice by us
        if receipt["state"] == "acknowledged":
            assert lines, told[marker]  # no claim without receipt
            assert alone or BESIDE in receipt["reason"], told[marker]  # none is claimed alone that was not
    kinds = Counter((r["state"], r["reason"], len(lines)) for r, lines in told.values())
    print("verdict, reason, how often at the model:", dict(kinds))
    hops = {marker: claude.node.call("trace", {"id": message})["hops"] for message, marker in ours.items()}
    for reason in (LOST, TAKEN):
        again = [marker for marker in hops if any(hop["reason"] == reason for hop in hops[marker])]
        print(f"{reason}:", again)
    fused = [marker for marker, (_, lines) in told.items() if any("theirs" in line for line in lines)]
    print("in one prompt with theirs:", fused)
    lost = [marker for marker, (_, lines) in told.items() if not lines]
    assert all(told[marker][0]["reason"] for marker in lost), lost  # each says why
    assert len(claimed) >= len(ours) * 3 // 4, told
