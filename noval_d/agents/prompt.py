"""Learn the prompt of a line-based program, and see what somebody has typed behind it. Pure.

Nothing tells a line that a person types from one that the program prints, neither the terminal nor the screen. What
is known is what stood before the cursor when it rested in a row for the first time, and when a message was typed.

- The prompt is known when the last two of these were alike, numbers aside, and ended like a prompt. One that rests
  in a new row and ends like the known one (another directory) is the prompt from then on. What stands behind it is
  a draft.
- Where none is known, what comes in a row behind what rested there first may be a draft. It is taken for one for as
  long as it changes and some time after that: a program that prints its line piece by piece is never waited for
  without end.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, replace
from functools import lru_cache

from noval_d.agents.driver import Driver
from noval_d.tmux.screen import Screen

KEPT_CHARS = 200
WRAPS = 20  # so many rows above may belong to a line
TYPED = 4  # so many lines at which messages were typed are remembered
MOVING = (
    5  # a line that was not at rest the last time either is looked at after so many times the time of rest
)
_NUMBER = re.compile(r"\d+")
_SHELL_END = re.compile(r"[$#%❯][ \u00a0]")
_EACH_END = re.compile(r"(?:[>$#❯›»→▶λ:)\]]|(?<!\d)%)[ \u00a0]")
_ANY_END = re.compile(r"(?:[>$#❯›»→▶λ]|(?<!\d)%)[ \u00a0]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Where the cursor of a line-based program stands."""

    line: str = ""
    """What is left of it in its row."""
    row: int = 0
    """Its row, counted from the first one that has scrolled out."""
    editing: bool = False
    """The program has its terminal hand over single keys: it edits the line itself."""
    under: str = ""
    """The word that begins under the cursor; what is dim is only suggested."""
    above: tuple[str, ...] = ()
    """The rows right above that are full, the uppermost first: they may be the beginning of the line."""


class Prompt:
    """What is known of one program's prompt."""

    def __init__(self, known: str = "") -> None:
        self.known = known
        """Its shape (`shape_of`); empty: none."""
        self._own: tuple[str, ...] = ()
        self._typed: deque[str] = deque(maxlen=TYPED)
        self._last = self._before = ""
        self._place: tuple[int, int] | None = None  # of `_last`: messages typed so far, row
        self._count = 0
        self._fresh = True  # nothing has rested yet: somebody may have typed before
        self._spot: Spot | None = None
        self._since = float("-inf")  # when that line was first seen
        self._start: Spot | None = None  # what rested first in its row
        self._moving = False
        self._resting = False  # it was the same in two looks with a moment between them

    def __repr__(self) -> str:
        return f"<Prompt {self.known!r}>"

    @property
    def rest(self) -> Spot | None:
        """What was at rest at the last look; None: nothing, as far as that is known."""
        return self._spot if self._resting else None

    def saw(self, driver: Driver, spot: Spot, now: float) -> None:
        """Take over what a look has shown while the program was in front."""
        spot = self._whole(spot)
        if self._spot is None or (spot.row, spot.line) != (self._spot.row, self._spot.line):
            self._moving = self._spot is not None and not self._resting
            self._since, self._resting = now, False
        elif not self._resting and now - self._since >= driver.prompt_rests_s:
            self._rests(driver, spot)
        self._spot = spot

    def rests_at(self, driver: Driver) -> float:
        """Return when a look would tell whether the line is at rest; inf when that needs something to change."""
        if self._spot is None or self._resting:
            return float("inf")
        return self._since + driver.prompt_rests_s * (MOVING if self._moving else 1)

    def _rests(self, driver: Driver, spot: Spot) -> None:
        start, self._resting = self._start, True
        ends = _is(driver.prompt_ends, spot.line)
        if start is None or start.row != spot.row or not spot.line.startswith(start.line):
            prompt, _half = glimpsed(spot.line) if self._fresh else ("", "")
            self._start = replace(spot, line=prompt) if prompt else spot
            self._fresh = False
            if ends and self.known and spot.line[-2:] == self.known[-2:]:
                self.known = shape_of(spot.line)
        if ends:
            self._learn(spot)

    def _learn(self, spot: Spot) -> None:
        here, place = shape_of(spot.line), (self._count, spot.row)
        if place != self._place:
            self._before = self._last
        self._last, self._place = here, place
        if here.strip() and here == self._before:
            self.known = here

    def typed_at(self, driver: Driver, spot: Spot, text: str) -> None:
        """Note where the cursor stood when `text` was typed and nobody's text was there."""
        self._own = tuple(own.strip() for own in text.splitlines())
        if is_prompt(driver, spot.line):
            self._learn(spot)
        self._typed.append(spot.line)
        self._count += 1
        self.away()

    def away(self) -> None:
        """Note that what is seen next begins anew: a text was typed, or the program was not in front."""
        self._spot = self._start = None
        self._resting = False

    def shown(self, driver: Driver, spot: Spot) -> bool:
        """Tell whether this is the prompt and nothing behind it."""
        start = self._start
        if start is not None and (start.row, start.line) == (spot.row, spot.line) and spot.line.strip():
            return _may_begin(driver, start) and not self._moved_back(spot)
        return bool(self.known) and spot.line == _part(self.known, spot.line)

    def behind(self, driver: Driver, spot: Spot, now: float) -> str:
        """Return what somebody has typed behind the prompt, as far as that can be told; empty for blanks.

        Our last text is nobody's: a program shows what it reads a moment before it goes to the next line.
        """
        lasting, whole = False, self._whole(spot)
        if prompt := _part(self.known, whole.line):
            rest = whole.line[len(prompt) :].strip()
            lasting = whole is spot and (spot.editing or _is(driver.prompt_ends, prompt))
        elif whole.line in self._typed or (whole.line[-1:].isspace() and is_prompt(driver, whole.line)):
            rest = ""
        else:
            prompt = _part(self._last, whole.line)
            rest = whole.line[len(prompt) :].strip() if prompt else self._grown(driver, whole)
        if not rest and self._moved_back(spot):
            rest, lasting = spot.under, False
        if any(own.startswith(rest) for own in self._own):
            return ""
        return rest if lasting or now - self._since < driver.prompt_unsure_s else ""

    def _whole(self, spot: Spot) -> Spot:
        """Return the line from its beginning, when that rested in one of the full rows right above."""
        start = self._start
        up = spot.row - start.row if start is not None else 0
        if start is None or not 0 < up <= len(spot.above):
            return spot
        line = "".join(spot.above[-up:]) + spot.line
        return replace(spot, line=line, row=start.row) if line.startswith(start.line) else spot

    def _grown(self, driver: Driver, spot: Spot) -> str:
        if self._is_empty(spot):
            return spot.line.strip()
        start = self._start
        if start is None or (start.row, start.editing) != (spot.row, spot.editing):
            return ""
        begun = spot.line.startswith(start.line) and _may_begin(driver, start)
        return spot.line[len(start.line) :].strip() if begun else ""

    def _moved_back(self, spot: Spot) -> bool:
        """Tell whether the cursor stands on something, where nothing stood when it rested in that place."""
        start = self._start
        there = start is not None and (start.row, start.line) == (spot.row, spot.line)
        return there and start is not None and not start.under and bool(spot.under)

    def _is_empty(self, spot: Spot) -> bool:
        """Tell whether the program has shown no prompt so far, and let the terminal edit its lines."""
        return not (spot.editing or self._last) and self._typed.count("") > 1


def _may_begin(driver: Driver, start: Spot) -> bool:
    """Tell whether what rested first in a row may be a prompt: a program that works prints lines, too."""
    line = start.line
    if start.editing or not line.strip() or line[-1].isspace():
        return True
    return is_prompt(driver, line)


def shape_of(line: str) -> str:
    """Return a line with each number as 0: what stays the same of `In [3]: ` and of a clock."""
    return _NUMBER.sub("0", line)


def write_prompt(known: str, pid: int) -> str:
    """Return what is kept in the pane of a known prompt, for a daemon or a script that comes later."""
    return f"{pid} {known}" if known and len(known) <= KEPT_CHARS else ""


def read_prompt(kept: str, pid: int) -> str:
    """Return the known prompt that was kept of the pane's process `pid`; "" when it was another one's."""
    owner, _, known = kept.partition(" ")
    return known if owner == str(pid) else ""


def _part(shape: str, line: str) -> str:
    """Return the beginning of a line that has this shape; "" when it has another one, or there is no shape."""
    found = _pattern(shape).match(line) if shape else None
    return found.group() if found else ""


@lru_cache(maxsize=256)
def _pattern(shape: str) -> re.Pattern[str]:
    parts = re.split(r"(\d+)", shape)
    return re.compile("".join(r"\d+" if part.isdigit() else re.escape(part) for part in parts))


def _is(pattern: re.Pattern[str] | None, line: str) -> bool:
    return pattern is not None and pattern.search(line) is not None


def glimpsed(line: str) -> tuple[str, str]:
    """Return prompt and half-typed line of a program of which nothing has been learned; empty: none to be told."""
    return _cut(line, _ANY_END.search(line)) if not line[-1:].isspace() else ("", "")


def unlearned(screen: Screen, spot: Spot, *, shell: bool) -> str:
    """Return what somebody has half typed, as far as one screen tells; "" when nothing does or none can be told.

    A prompt looks as its owner likes. In a `shell`, and where a program edits its line, what stands behind a usual
    prompt's end is one; behind others only where a row above begins with the same prompt, numbers aside.
    """
    if shell and (ends := list(_SHELL_END.finditer(spot.line))):
        return _cut(spot.line, ends[-1])[1]
    if spot.line[-1:].isspace():
        return ""
    if spot.editing and not shell and (half := glimpsed(spot.line)[1]):
        return half
    prompt, half = _cut(spot.line, _EACH_END.search(spot.line))
    above = (shape_of(row.text) for row in screen.rows[: screen.cursor_y])
    return half if prompt and any(row.startswith(shape_of(prompt)) for row in above) else ""


def perhaps_typed(driver: Driver, line: str) -> str:
    """Return what may be half typed in a terminal that buffers lines, as far as one look tells; "" when nothing.

    A prompt ends like one, or with a blank. What ends within words was typed, or a program at work has printed it.
    """
    return "" if line[-1:].isspace() or is_prompt(driver, line) else line.strip()


def _cut(line: str, end: re.Match[str] | None) -> tuple[str, str]:
    half = line[end.end() :].strip() if end else ""
    return (line[: end.end()], half) if end and half else ("", "")


def is_line(driver: Driver, screen: Screen, spot: Spot) -> bool:
    """Tell whether a program looks like one that edits a line: nothing stands behind the cursor, nothing below.

    Before it there is nothing, a prompt, or a prompt and what is half typed. An input box has a frame, a footer or
    hints below, or no cursor of the terminal's.
    """
    row = screen.rows[screen.cursor_y] if 0 <= screen.cursor_y < len(screen.rows) else None
    if row is None or not screen.cursor_visible or row.text.rstrip() != spot.line.rstrip():
        return False
    if any(below.text.strip() for below in screen.rows[screen.cursor_y + 1 :]):
        return False
    if not spot.line.strip() or is_prompt(driver, spot.line):
        return True
    return bool(unlearned(screen, spot, shell=False))


def is_prompt(driver: Driver, line: str) -> bool:
    """Tell whether a line ends as prompts do."""
    return _is(driver.prompt_ends, line) or _is(driver.prompt_asks, line)


def spot_of(screen: Screen, *, width: int, history_rows: int, editing: bool) -> Spot:
    """Return where the cursor is; what a program suggests stands to its right and does not count."""
    y = screen.cursor_y
    if not 0 <= y < len(screen.rows):
        return Spot(row=history_rows + y, editing=editing)
    line, under, columns = "", "", 0
    for cell in screen.rows[y].cells:
        if columns < screen.cursor_x:
            line += cell.char
            columns += cell.width
        elif cell.dim or cell.char.isspace():
            break
        else:
            under += cell.char
    line += " " * max(0, screen.cursor_x - columns)
    above: list[str] = []
    for row in reversed(screen.rows[max(y - WRAPS, 0) : y]):
        if sum(cell.width for cell in row.cells) < width:
            break
        above.insert(0, row.text)
    return Spot(line=line, row=history_rows + y, editing=editing, under=under, above=tuple(above))
