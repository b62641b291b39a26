"""Decide whether a message between agents goes on, waits or ends the conversation. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from nova_torch.values import HoldReason, State
from noval_d.delivery.gate import Hold, Refuse

MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the configuration allows; 0 is no limit."""

    exchanges: int
    per_minute: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the receiving agent was given before: a message counts once, when it is first about to be typed.

    `exchanges` counts those of this conversation, from agents. `at_ms` are the times of the last ones from this
    sender, oldest first; older ones than the limit of a minute may be left out.
    """

    exchanges: int
    at_ms: tuple[int, ...]


def judge(facts: Facts, limits: Limits, *, sender: str, now_ms: int) -> Hold | Refuse | None:
    """Return what keeps a message of the agent `sender` back at `now_ms` (epoch), or None.

    The end of a conversation is final; a rate only delays. What the clock wrote of a time that is more than a
    minute away, before or after a jump, does not count.
    """
    if limits.exchanges and facts.exchanges >= limits.exchanges:
        return Refuse(
            State.FAILED,
            f"the conversation was stopped after {facts.exchanges} messages of it (delivery.max_exchanges);"
            " novactl dead retry types this one all the same",
        )
    if not limits.per_minute:
        return None
    recent = sorted(at for at in facts.at_ms if abs(now_ms - at) < MINUTE_MS)
    if len(recent) < limits.per_minute:
        return None
    until_ms = min(recent[-limits.per_minute], now_ms) + MINUTE_MS
    return Hold(
        HoldReason.RATE_LIMITED,
        f"{sender} has sent {len(recent)} messages within a minute (delivery.pair_rate_per_minute);"
        f" goes on at {datetime.fromtimestamp(until_ms / 1000, UTC):%H:%M:%S} UTC",
        (until_ms - now_ms) / 1000,
    )
