"""Decide whether an agent works on what it has acknowledged. No I/O, no clock.

A prompt that is acknowledged is in the agent's hands; whether anything comes of it is another matter: it may hang,
or have lost the connection to its model. What counts as work: a hook after the prompt (the end of a turn, a tool
that asks, a compaction), an agent that is seen busy or asking, a transcript that grows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from nova_torch.values import MessageId

SETTLED_S = 2.0  # the prompt itself is in the transcript by then: only what is added later is work


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A message that was acknowledged and of which no work was seen yet; `at` in monotonic seconds."""

    message: MessageId
    at: float
    transcript_bytes: int | None = None
    """Size of the transcript with the prompt in it; None: not looked at yet."""
    warned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The last signs of work, in monotonic seconds, -inf for never."""

    hook_at: float = float("-inf")
    seen_at: float = float("-inf")
    """When the screen last showed it busy, or asking."""
    transcript_bytes: int | None = None


def judge(taken: Taken, work: Work, now: float, limit_s: float) -> Taken | None:
    """Return what is known of the message now: None when it is worked on, with `warned` when the limit is over."""
    if work.hook_at >= taken.at or work.seen_at > taken.at:
        return None
    size, known = work.transcript_bytes, taken.transcript_bytes
    if size is not None and known is not None and size != known:
        return None
    if known is None and size is not None and now - taken.at >= SETTLED_S:
        taken = replace(taken, transcript_bytes=size)
    return replace(taken, warned=taken.warned or now - taken.at >= limit_s)
