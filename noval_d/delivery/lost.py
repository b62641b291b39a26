"""Decide whether a text that never appeared in the input box is lost for good, and may be typed again. No I/O.

A terminal is a stream of bytes that its program reads in order. So a key that is typed behind the text, and is seen
to work, says that the program has acted on the text as well: what is not in the box by then never will be. The key
is a space; it moves the cursor of an empty box by one, is taken away again, and starts nothing. That the text did
not go in by somebody else's Enter is for the prompt hook to say, so an agent without one is left alone.

A box that somebody types into all the time is never empty for that. Then their own keys say it: a text of theirs
that came into the box long after ours, and that the prompt hook tells of as it stood there, or the transcript
as it is queued.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from noval_d.delivery.proof import collapsed

if TYPE_CHECKING:
    from noval_d.delivery.steps import Look

GIVES_UP_S = 60.0  # so long an end is waited for of the turn that may have taken the text into its queue
SHOWS_S = 2.0  # a key that does not show within this says nothing
RESTS_S = 0.5  # and nothing may show behind it for so long: Claude shows a paste 0.1 s after its last byte
TOLD_S = (
    2.5  # a hook that found the daemon busy is heard two seconds late; what went in before is told of by then
)
CAME = 64  # texts of theirs: one that is typed by hand grows letter by letter
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Theirs:
    """What somebody else has typed since the text is missed, without white space; monotonic seconds."""

    shown: str | None = None
    """The box as it was seen last."""
    came: tuple[str, ...] = ()
    """What it showed that it did not show before."""
    told_at: float | None = None
    """When the prompt hook told of one of these, and of nothing else."""
    queued_at: float | None = None
    """When the agent's transcript said that it had taken one of these into its queue."""


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


def overheard(theirs: Theirs | None, look: Look, now: float) -> Theirs:
    """Return what somebody else has typed since the text is missed, with what `look` adds to it."""
    theirs = theirs or Theirs()
    if theirs.told_at is None and not set(theirs.came).isdisjoint(look.told):
        theirs = replace(theirs, told_at=now)
    if theirs.queued_at is None and not set(theirs.came).isdisjoint(look.queued):
        theirs = replace(theirs, queued_at=now)
    if look.composer is None:
        return theirs
    shown, came = collapsed(look.composer), theirs.came
    if shown and theirs.shown not in (None, shown):
        came = (*came, shown)[-CAME:]
    return replace(theirs, shown=shown, came=came)


def judge(
    probing: Probing | None, theirs: Theirs | None, look: Look, now: float, missing_s: float
) -> tuple[Probing | None, Finding]:
    """Return what is known now of a text that was pasted `missing_s` ago and is not in the box.

    `theirs`: what somebody else has typed since it is missed.
    """
    if not look.tells or look.elsewhere or look.column is None or missing_s >= GIVES_UP_S:
        return probing, Doubt()
    if look.composer != "":  # somebody types: the space says nothing any more
        probing = None
    if probing is None and _overtaken(theirs, look, now):
        return None, Lost()
    if look.composer != "":
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


def _overtaken(theirs: Theirs | None, look: Look, now: float) -> bool:
    """Tell whether their keys, typed long after the text, were acted on, and it is not to be found since.

    What went into the queue before theirs was told of before it. An Enter right at the end of a turn overtakes the
    queue, so one that was told of only says nothing of what is in there.
    """
    if theirs is None or look.piece:
        return False
    queued = theirs.queued_at is not None and now - theirs.queued_at >= TOLD_S
    told = theirs.told_at is not None and now - theirs.told_at >= TOLD_S
    return queued or (told and look.idle)


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
