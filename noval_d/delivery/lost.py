"""Decide whether a text that never appeared in the input box is lost for good, and may be typed again. No I/O.

A terminal is a stream of bytes that its program reads in order. So a key that is typed behind the text, and is seen
to work, says that the program has acted on the text as well: what is not in the box by then never will be. The key
is a space; it moves the cursor of an empty box by one, is taken away again, and starts nothing. That the text did
not go in by somebody else's Enter is for the prompt hook to say, so an agent without one is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from noval_d.delivery.steps import Look

GIVES_UP_S = 60.0  # so long an end is waited for of the turn that may have taken the text into its queue
SHOWS_S = 2.0  # a key that does not show within this says nothing
RESTS_S = 0.5  # and nothing may show behind it for so long: Claude shows a paste 0.1 s after its last byte
LOOK_S = 0.02
IDLE_LOOK_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Probing:
    """How far the space is; monotonic seconds."""

    column: int
    """Where the cursor stood in the empty box; its row moves with what the agent says."""
    typed_at: float
    seen_at: float | None = None
    erased_at: float | None = None
    clean_at: float | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """Type one space into the empty box, with the cursor where it was seen."""


@dataclass(frozen=True, slots=True)
class Erase:
    """Take that space away, with the cursor right behind it."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Nothing is known yet: look again after `seconds`."""

    seconds: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Lost:
    """It is nowhere, and will not come."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """It may be somewhere: it must not be typed again."""


Finding = Probe | Erase | Patience | Lost | Doubt


def judge(
    probing: Probing | None, look: Look, now: float, missing_s: float
) -> tuple[Probing | None, Finding]:
    """Return what is known now of a text that was pasted `missing_s` ago and is not in the box."""
    if not look.tells or look.elsewhere or look.column is None or missing_s >= GIVES_UP_S:
        return probing, Doubt()
    if look.composer != "":  # somebody types: the space says nothing any more
        return None, Patience(IDLE_LOOK_S, "draft")
    if probing is None:
        return None, Probe() if look.idle else Patience(IDLE_LOOK_S, "busy")
    behind = look.column - probing.column
    if probing.seen_at is None:
        return _typed(probing, behind, now)
    if probing.erased_at is None:
        if behind != 1:
            return None, Patience(LOOK_S)
        return probing, Erase() if now - probing.seen_at >= RESTS_S else Patience(LOOK_S)
    if probing.clean_at is None:
        return _erased(probing, behind, now, probing.erased_at)
    if behind != 0:
        return None, Patience(LOOK_S)
    if now - probing.clean_at < RESTS_S:
        return probing, Patience(LOOK_S)
    # a turn that began meanwhile may have taken it, and its hook be on the way
    return probing, Lost() if look.idle else Patience(IDLE_LOOK_S, "busy")


def probed(look: Look, sent_at: float) -> Probing | None:
    """Return the beginning of it after a space that tmux confirmed, sent at `sent_at`."""
    return Probing(column=look.column, typed_at=sent_at) if look.column is not None else None


def erased(probing: Probing, now: float) -> Probing:
    """Return how far it is after the space was taken away, which tmux confirmed."""
    return replace(probing, erased_at=now)


def unread(probing: Probing | None, now: float) -> Probing | None:
    """Return how far it is while the program has not read everything: what it should show is waited for anew."""
    if probing is None or probing.clean_at is not None:
        return None
    if probing.erased_at is not None:
        return replace(probing, erased_at=now)
    return replace(probing, typed_at=now) if probing.seen_at is None else replace(probing, seen_at=now)


def _typed(probing: Probing, behind: int, now: float) -> tuple[Probing, Finding]:
    if behind == 1:
        return replace(probing, seen_at=now), Patience(LOOK_S)
    return probing, Patience(LOOK_S) if now - probing.typed_at < SHOWS_S else Doubt()


def _erased(probing: Probing, behind: int, now: float, erased_at: float) -> tuple[Probing, Finding]:
    if behind == 0:
        return replace(probing, clean_at=now), Patience(LOOK_S)
    return probing, Patience(LOOK_S) if now - erased_at < SHOWS_S else Doubt()
