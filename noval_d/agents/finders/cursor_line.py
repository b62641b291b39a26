"""The composer of a program that nobody has described: the line with the cursor. DELIVERY 6, last bullet.

Nothing is known of the program, so a line counts as empty only where there is a reason to: prompt glyphs and
nothing behind them, a blank line in a box whose lines above are blank, or the very line that was seen when the
agent was registered. Everything else is a draft, and what looks like a dialog hides the composer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from noval_d.agents.composer import BLANKS, Composer
from noval_d.agents.driver import Driver
from noval_d.tmux.screen import Cell, Row, Screen

ABOVE = 3  # rows above the cursor that belong to a text of many lines
PROMPTS = ">❯›»→▶λ"  # not $, # and %: a line that begins so is a shell's
SIDES = "┃│║┆╎▌▏"
_PROMPT = re.compile(rf"[{BLANKS}_|]*[{PROMPTS}]+[{BLANKS}]*")
_GAP = re.compile(rf"[{BLANKS}]{{3}}|[{SIDES}]")  # behind it stands another column of the screen
_LEARNABLE = re.compile(rf"[{PROMPTS}:]$")
_GREY_LEAST, _GREY_MOST, _GREY_SPREAD = 0x50, 0xB4, 24


@dataclass(frozen=True, slots=True)
class _Line:
    """The line with the cursor, without what surrounds it."""

    row: int
    side: int | None
    """Column of the box's side to its left."""
    prompt: bool
    text: str
    whole: str
    """With its prompt, blanks collapsed: what is compared with a line that is known to be empty."""


def cursor_line(driver: Driver, screen: Screen) -> Composer | str:
    """Take the row with the cursor, if nothing on the screen looks like a dialog."""
    bottom = screen.bottom(driver.dialog_rows).split("\n")
    if any(pattern.search(row.strip()) for row in bottom for pattern in driver.dialogs):
        return "something on the screen looks like a dialog"
    line = _line(screen)
    if line is None:
        return "no line of the screen has the cursor"
    above = [_inside(row, line.side) for row in screen.rows[max(line.row - ABOVE, 0) : line.row]]
    near = "\n".join([*above, line.text])
    if line.text:
        empty = line.whole in driver.empty
        return _composer("" if empty else line.text, line.row, near)
    if line.prompt:
        return _composer("", line.row, near)
    higher = _above(screen, line)
    if line.side is None and not higher:
        return "the line with the cursor is blank, and no prompt says that it is an input line"
    return _composer(higher, line.row, near)


def empty_line(driver: Driver, screen: Screen) -> str | None:
    """Return the line with the cursor as that of an empty composer; None when it may be something else.

    It is asked for when somebody registers an agent, whose composer is empty then.
    """
    if isinstance(cursor_line(driver, screen), str):
        return None
    line = _line(screen)
    return line.whole if line is not None and _LEARNABLE.search(line.whole) else None


def _composer(text: str, row: int, near: str) -> Composer:
    return Composer(text=text, first=row, end=row + 1, near=near)


def _line(screen: Screen) -> _Line | None:
    place = _cursor(screen)
    if place is None or not 0 <= place[0] < len(screen.rows):
        return None
    row, column = place
    left, right = _parts(screen.rows[row], column)
    side = max((index for index, char in enumerate(left) if char in SIDES), default=None)
    ours = left if side is None else left[side + 1 :]
    behind = _GAP.split(right, maxsplit=1)[0]
    found = _PROMPT.match(ours)
    text = ours[found.end() :] if found else ours.strip(BLANKS + "_|")
    return _Line(
        row=row,
        side=None if side is None else len(left[:side]),
        prompt=found is not None,
        text=(text + behind).strip(BLANKS),
        whole=" ".join((left.strip(BLANKS) + " " + behind).split()),
    )


def _cursor(screen: Screen) -> tuple[int, int] | None:
    """Return row and column of the cursor: the terminal's, or one that the program draws itself."""
    if screen.cursor_visible:
        return (screen.cursor_y, screen.cursor_x) if 0 <= screen.cursor_y < len(screen.rows) else None
    for index in range(len(screen.rows) - 1, -1, -1):
        if (column := _drawn_cursor(screen.rows[index])) is not None:
            return index, column
    return None


def _drawn_cursor(row: Row) -> int | None:
    """Return the column of the only one or two reversed cells of a row."""
    column, found = 0, None
    for cell in row.cells if any(run.style.reverse for run in row.runs) else ():
        if cell.reverse:
            if found is not None and column - found != 1:
                return None
            found = column if found is None else found
        column += cell.width
    return found


def _parts(row: Row, column: int) -> tuple[str, str]:
    """Return what stands before the cursor and from it on, with blanks for what nobody typed.

    Before the cursor only dim text is such a ghost; behind it grey text too, and what the cursor lies on when a
    ghost follows.
    """
    left, right = "", ""
    at = 0
    cells = row.cells
    for index, cell in enumerate(cells):
        after = cells[index + 1] if index + 1 < len(cells) else None
        if at < column:
            left += " " if cell.dim else cell.char
        else:
            covered = at == column and after is not None and _ghost(after)
            right += " " if covered or _ghost(cell) else cell.char
        at += cell.width
    return left, right


def _ghost(cell: Cell) -> bool:
    return cell.dim or _grey(cell.foreground)


def _grey(colour: str | None) -> bool:
    if colour is None:
        return False
    if colour.startswith("#"):
        parts = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
        middle = sum(parts) // 3
        return max(parts) - min(parts) <= _GREY_SPREAD and _GREY_LEAST <= middle <= _GREY_MOST
    return colour == "8" or 239 <= int(colour) <= 249


def _inside(row: Row, side: int | None) -> str:
    """Return a row's text behind the side of the box, up to the next column of the screen."""
    text = "".join(" " * len(run.text) if run.style.dim else run.text for run in row.runs)
    text = text if side is None else text[side + 1 :]
    indent = len(text) - len(text.lstrip(BLANKS))
    return text[:indent] + _GAP.split(text[indent:], maxsplit=1)[0]


def _above(screen: Screen, line: _Line) -> str:
    """Return the text right above a blank line that it may be the end of: in its box, or without one."""
    found: list[str] = []
    for row in reversed(screen.rows[: line.row]):
        if line.side is not None and row.text[line.side : line.side + 1] not in tuple(SIDES):
            break
        text = _inside(row, line.side).strip(BLANKS)
        if line.side is None and not any(char.isalnum() for char in text):
            break
        found.append(text)
        if line.side is None and len(found) == ABOVE:
            break
    return "\n".join(reversed(found)).strip("\n" + BLANKS)
