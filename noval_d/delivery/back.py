"""Decide how our text is taken out of an input box again, from beside somebody else's. No I/O, no clock.

The original's way types a text and presses Enter half a second later. When that text joins ours before our Enter,
ours is taken away by keys, all of them in one write, and typed again later, alone. The box tells which keys: ours
must stand there letter for letter, in front of theirs or behind it. That it worked is told by the box as well.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace

from noval_d.agents.driver import Driver
from noval_d.agents.sight import Sight, stands_for
from noval_d.delivery.proof import PIECE_CHARS, collapsed

MAX_CHARS = 800  # 780 keys were acted on, whole and in order; more than about 1,000 at once were dropped
SPARE_ROWS = 4  # Home and End go to the next row at the end of one, and nowhere at the end of the last
RESTS_S = 0.05  # theirs alone for so long, and no word of ours elsewhere
TELLS_S = 2.0  # theirs is told of within this, if it was sent before it was seen alone
SHOWS_S = 5.0  # keys that did not show by then did not work

_LETTERS = re.compile("[ -~\n\u00a1-\u00ac\u00ae-\u024f\u0370-\u0482\u048a-\u052f\u2010-\u2027\u20ac]*")
"""Each is one key to take away, whatever stands beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Back:
    """How to take ours back, by tmux's names of the keys, and what is left then. No white space in the texts."""

    keys: str
    ours: str
    theirs: str


@dataclass(frozen=True, slots=True)
class Taking:
    """The keys that were pressed, or may have been; monotonic seconds."""

    back: Back
    sent_at: float
    seen_at: float | None = None
    """Since when theirs was seen to stand there without ours."""


def plan(driver: Driver, sight: Sight, typed: str, column: int) -> Back | None:
    """Return how `typed` is taken out of the box with the cursor in `column`; None where that would not be safe."""
    if not driver.takes_back or not sight.composer or sight.cut:
        return None
    drawn, presses = typed, len(typed)
    if sight.pasted:
        assert driver.marker is not None
        markers = list(driver.marker.finditer("".join(sight.composer.split("\n"))))
        if len(markers) != 1 or not stands_for(driver, sight.composer, typed):
            return None
        drawn, presses = markers[0][0], 1
    elif not _LETTERS.fullmatch(typed) or typed != typed.strip() + driver.trailing or presses > MAX_CHARS:
        return None
    ours, seen = collapsed(drawn), collapsed(sight.composer)
    front, behind = seen.startswith(ours), seen.endswith(ours)
    theirs = seen[len(ours) :] if front else seen[: -len(ours)]
    if front is behind or not theirs or ours in theirs or len(ours) < PIECE_CHARS:
        return None
    if _joins(theirs[0] if front else theirs[-1]):
        return None
    blank = 0 if sight.pasted else len(driver.trailing)
    if not front and column != driver.indent + len(sight.composer.split("\n")[-1]) + blank:
        return None  # something stands behind ours that is not drawn, such as a line feed
    rows = sight.composer.count("\n") + SPARE_ROWS
    keys = (
        ["Home"] * rows + ["DC"] * presses + ["End"] * rows
        if front
        else ["End"] * rows + ["BSpace"] * presses
    )
    return Back(keys=" ".join(keys), ours=ours, theirs=theirs)


def _joins(char: str) -> bool:
    """Tell whether `char` may be one with the letter beside it."""
    return unicodedata.category(char)[0] in "MC" or unicodedata.category(char) == "Sk"


def seen(taking: Taking, composer: str | None, now: float) -> Taking:
    """Return it with what the box shows: theirs as it stood there, or with more behind it, and nothing of ours."""
    if taking.seen_at is not None or composer is None:
        return taking
    back, shown = taking.back, collapsed(composer)
    more = shown[len(back.theirs) :]
    alone = shown.startswith(back.theirs) and (not more or more[0] != back.ours[0])
    return replace(taking, seen_at=now) if alone else taking
