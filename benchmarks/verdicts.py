"""Hold what is claimed of each message against what its model saw, and its trace against the rules. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

CLAIMED = ("submitted", "acknowledged", "replied")
DENIED = ("failed", "expired", "dead", "held", "accepted", "queued")
REASONED = ("held", "unconfirmed", "failed", "expired", "dead")
AFTER = {
    "accepted": ("queued", "held", "failed", "expired", "dead"),
    "queued": ("held", "typed", "failed", "expired", "dead", "queued"),
    "held": (
        "held",
        "queued",
        "typed",
        "failed",
        "expired",
        "dead",
        "submitted",
        "acknowledged",
        "unconfirmed",
    ),
    "typed": ("typed", "held", "submitted", "acknowledged", "unconfirmed"),
    "submitted": ("submitted", "acknowledged", "replied"),
    "acknowledged": ("replied",),
}
TAKEN_S = 20.0
"""An agent that ends within this time after a text was typed may take it along: the longest turn, and some."""
ASKED_S = 3.0
"""A model that is asked later than this after a claim is asked with the text, or the claim was false."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One accepted message; without a marker it is a command, which no model sees."""

    id: str
    agent: str
    marker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """One end that an agent was brought to; epoch milliseconds from before it to when it was done."""

    agent: str
    how: str
    began_ms: int
    ended_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The judgement of one message. `wrong` is empty when all is as it should be."""

    sent: Sent
    state: str
    reason: str
    count: int
    wrong: str
    taken_along: bool
    told: str


def judged(
    sent: Sequence[Sent],
    ended: Sequence[Ended],
    traces: Mapping[str, Mapping[str, Any]],
    arrivals: Mapping[str, Mapping[str, int]],
    asked_ms: Mapping[str, Sequence[int]],
) -> list[Row]:
    """Return the judgement of every message, in the order in which they were sent.

    `asked_ms` is when each agent asked its model in its main conversation.
    """
    return [
        _row(
            one,
            [end for end in ended if end.agent == one.agent],
            traces[one.id],
            arrivals[one.agent].get(one.marker, 0),
            asked_ms[one.agent],
        )
        for one in sent
    ]


def _row(
    one: Sent, ended: Sequence[Ended], trace: Mapping[str, Any], count: int, asked_ms: Sequence[int]
) -> Row:
    state, reason, hops = str(trace["state"]), str(trace["reason"]), trace["hops"]
    along = state in CLAIMED and count == 0 and bool(one.marker) and _taken_along(ended, hops, asked_ms)
    wrong = _trace(trace)
    if one.marker and not along:
        wrong = _count(state, count) or wrong
    if not trace["final"]:
        wrong = wrong or f"it is still {state} ({reason}) long after the end"
    told = " ".join(
        f"{hop['at_ms'] - hops[0]['at_ms']}:{hop['state']}{'(' + hop['reason'] + ')' if hop['reason'] else ''}"
        for hop in hops
    )
    return Row(sent=one, state=state, reason=reason, count=count, wrong=wrong, taken_along=along, told=told)


def _count(state: str, count: int) -> str:
    if count > 1:
        return f"the model got it {count} times ({state})"
    if state in CLAIMED and count == 0:
        return f"{state}, and the model never got it"
    if state in DENIED and count > 0:
        return f"{state}, and the model got it"
    return ""


def _taken_along(ended: Sequence[Ended], hops: Sequence[Mapping[str, Any]], asked_ms: Sequence[int]) -> bool:
    """Tell whether the agent had the text and was ended before it asked its model again."""
    typed_ms = max((hop["at_ms"] for hop in hops if hop["state"] == "typed"), default=0)
    claimed_ms = min((hop["at_ms"] for hop in hops if hop["state"] in CLAIMED), default=typed_ms)
    return any(
        end.ended_ms >= typed_ms
        and end.began_ms <= typed_ms + TAKEN_S * 1000
        and not any(claimed_ms + ASKED_S * 1000 < at_ms < end.began_ms for at_ms in asked_ms)
        for end in ended
    )


def _trace(trace: Mapping[str, Any]) -> str:
    """Return what the hops do not explain, or nothing."""
    hops = trace["hops"]
    states = [str(hop["state"]) for hop in hops]
    if not states or states[0] != "accepted":
        return f"its trace begins with {states[:1]}"
    if states[-1] != trace["state"]:
        return f"its trace ends with {states[-1]}, its receipt says {trace['state']}"
    for before, after in pairwise(hops):
        if after["at_ms"] < before["at_ms"]:
            return f"{after['state']} is dated before {before['state']}"
        if after["state"] not in AFTER.get(before["state"], ()):
            return f"{after['state']} follows {before['state']}"
    for hop in hops:
        if hop["state"] in REASONED and not hop["reason"]:
            return f"no reason is given for {hop['state']}"
    if trace["state"] in (*CLAIMED, "unconfirmed") and "typed" not in states:
        return f"{trace['state']} without having been typed"
    return ""


def as_table(rows: Sequence[Row], ended: Sequence[Ended]) -> str:
    """Return the result for people: each agent's messages by state, and the texts that were not proven."""
    states = [*CLAIMED[:2], "unconfirmed", "failed", "expired", "dead"]
    lines = [
        f"{'agent':<12}{'sent':>6}" + "".join(f"{s:>14}" for s in states) + f"{'at model':>10}{'ended':>7}"
    ]
    for agent in dict.fromkeys(row.sent.agent for row in rows):
        mine = [row for row in rows if row.sent.agent == agent]
        count = Counter(row.state for row in mine)
        ends = sum(end.agent == agent for end in ended)
        cells = "".join(f"{count[state]:>14}" for state in states)
        lines.append(f"{agent:<12}{len(mine):>6}{cells}{sum(row.count for row in mine):>10}{ends:>7}")
    lines.append(f"ends: {dict(Counter(end.how for end in ended))}")
    doubt = Counter((row.reason, row.count) for row in rows if row.state == "unconfirmed" and row.sent.marker)
    for (reason, number), many in sorted(doubt.items()):
        lines.append(f"unconfirmed, {number} at the model: {many} x {reason}")
    along = sum(row.taken_along for row in rows)
    lines.append(f"taken by an agent that was ended before it asked its model: {along}")
    lines.append(f"{len(rows)} messages, {sum(bool(row.wrong) for row in rows)} judged wrong")
    return "\n".join(lines)
