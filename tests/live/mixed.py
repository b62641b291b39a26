"""Fifty mixed messages: what every real agent must get exactly once, whatever it does meanwhile."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import pytest

from tests.live.agent_node import AgentNode

MESSAGES = 50
COUNTS = pytest.mark.parametrize("count", [20, pytest.param(MESSAGES, marks=pytest.mark.long)])
"""Twenty in every run of the tests, fifty in `make live`."""
KINDS = (
    "short {m}",
    "/help {m}",
    "! ls {m}",
    "# memory {m}",
    "@file {m}",
    "$HOME {m}",
    "ends in a reference {m} @REA",
    "ends in a variable {m} $rev",
    "ends in a backslash {m} \\",
    "\n".join(f"line {n} of {{m}}" if n == 3 else f"line {n}" for n in range(20)),
    "a\ttab {m} and emoji \U0001f600 and e\u0301 combined",
    "{m} " + "word " * 1000,
    "{m} " + "wörter\n" * 900,
    "{m} \x1b[201~\rcontrol \x00 bytes",
    "{m} " + "y" * 50_000,
)


def bodies(rng: random.Random, count: int = MESSAGES, kinds: Sequence[str] = KINDS) -> list[str]:
    """Return `count` bodies of many kinds, each with its own marker."""
    made = [kinds[n % len(kinds)].replace("{m}", f"[[m-{n}]]") for n in range(count)]
    rng.shuffle(made)
    return made


def marker_of(body: str) -> str:
    start = body.index("[[")
    return body[start : body.index("]]") + 2]


def run_mixed(
    agent: AgentNode,
    *states: str,
    count: int = MESSAGES,
    kinds: Sequence[str] = KINDS,
    timeout_s: float = 120.0,
    longest_last: bool = False,
) -> Mapping[str, str]:
    """Send `count` messages, in bursts while the agent works and one by one while it is idle.

    Each must end in one of `states` and be at the model exactly once. `longest_last` is for an agent that is slow
    ever after it. Returns the final state of each id.
    """
    rng = random.Random(7)
    sent: dict[str, str] = {}
    made = bodies(rng, count, kinds)
    if longest_last:
        longest = max(made, key=len)
        made.remove(longest)
        made.append(longest)
    for number, body in enumerate(made):
        agent.stub.delay_s = rng.choice([0.0, 0.0, 0.3, 1.0])
        sent[agent.send(body)] = marker_of(body)
        if number % 7 == 6:
            for message_id in sent:
                agent.node.wait_state(message_id, *states, timeout_s=timeout_s)
    agent.stub.delay_s = 0
    finals = {
        message_id: agent.node.wait_state(message_id, *states, timeout_s=timeout_s) for message_id in sent
    }
    assert all(receipt["final"] for receipt in finals.values())
    for marker in sent.values():
        agent.wait_received(marker)
    return {message_id: str(receipt["state"]) for message_id, receipt in finals.items()}
