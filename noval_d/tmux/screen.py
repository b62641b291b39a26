"""Read the lines of `capture-pane -p -e -N` into rows of styled text. Pure; nothing it reads makes it raise.

tmux prints only what changes, so a style runs on from one line into the next, and lines must be parsed from
the first on. A row is kept as runs of equally styled text (a screen has some hundred), its cells are made
only when somebody asks for them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from unicodedata import category as category_of
from unicodedata import combining, east_asian_width

# In this order: SGR (its parameters are the group), other CSI, OSC, charset and other escapes, SO and SI.
_ESCAPE = re.compile(
    r"\x1b\[([0-9;:]*)m"
    r"|\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|\x1b(?:[ -/]*[0-~])?"
    r"|[\x0e\x0f]"
)
_BYTES_OF_ESCAPES = (b"\x1b", b"\x0e", b"\x0f")
_BASIC = {
    **{str(30 + n): ("foreground", str(n)) for n in range(8)},
    **{str(90 + n): ("foreground", str(n + 8)) for n in range(8)},
    **{str(40 + n): ("background", str(n)) for n in range(8)},
    **{str(100 + n): ("background", str(n + 8)) for n in range(8)},
    "39": ("foreground", None),
    "49": ("background", None),
}
_FLAGS = {"2": ("dim", True), "22": ("dim", False), "7": ("reverse", True), "27": ("reverse", False)}
_COLOURS = {"38": "foreground", "48": "background", "58": "underline"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How text is drawn. A colour is None, a palette number (`"246"`) or `"#rrggbb"`."""

    dim: bool = False
    reverse: bool = False
    foreground: str | None = None
    background: str | None = None


PLAIN = Style()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One character with what combines with it; `width` is the columns it takes."""

    char: str
    width: int
    dim: bool
    reverse: bool
    foreground: str | None
    background: str | None


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring characters of one style."""

    text: str
    style: Style


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a screen, as runs; blanks at its end are kept."""

    runs: tuple[Run, ...]

    @property
    def text(self) -> str:
        """The characters of the row, without styles."""
        return "".join([run.text for run in self.runs])

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The characters one by one; what combines with a character stays with it."""
        found: list[Cell] = []
        for run in self.runs:
            cells: dict[str, Cell] = {}  # most of a screen is blanks: each character of a run is made once
            for char in _characters(run.text):
                if char not in cells:
                    cells[char] = _cell(char, run.style)
                found.append(cells[char])
        return tuple(found)

    def __repr__(self) -> str:
        return f"<Row {self.text.rstrip()!r}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """What a pane shows at one moment, and where its cursor is (columns and rows from 0)."""

    rows: tuple[Row, ...]
    cursor_x: int
    cursor_y: int
    cursor_visible: bool
    title: str = ""
    command: str = ""

    def text(self, row: int) -> str:
        """Return the text of one row without the blanks at its end; "" when there is no such row."""
        return self.rows[row].text.rstrip() if 0 <= row < len(self.rows) else ""

    def bottom(self, count: int) -> str:
        """Return the last `count` rows down to the last one that is not blank, joined by line feeds."""
        texts = [row.text.rstrip() for row in self.rows]
        while texts and not texts[-1]:
            texts.pop()
        return "\n".join(texts[-count:] if count > 0 else [])

    def __repr__(self) -> str:
        shown = "" if self.cursor_visible else " hidden"
        return f"<Screen {len(self.rows)} rows cursor={self.cursor_x},{self.cursor_y}{shown} {self.title!r}>"


def parse_screen(
    lines: Sequence[bytes],
    *,
    cursor_x: int,
    cursor_y: int,
    cursor_visible: bool,
    title: str = "",
    command: str = "",
) -> Screen:
    """Return the screen that `lines` (one a row, as `capture-pane -p -e -N` prints them) draw.

    Bytes that are no UTF-8 become U+FFFD; escape sequences other than SGR are skipped.
    """
    rows: list[Row] = []
    style = PLAIN
    for line in lines:
        row, style = _parse_row(line, style)
        rows.append(row)
    return Screen(
        rows=tuple(rows),
        cursor_x=cursor_x,
        cursor_y=cursor_y,
        cursor_visible=cursor_visible,
        title=title,
        command=command,
    )


def _parse_row(line: bytes, style: Style) -> tuple[Row, Style]:
    """Return the row and the style that runs on into the next one."""
    text = line.decode("utf-8", "replace")
    if not any(mark in line for mark in _BYTES_OF_ESCAPES):
        return Row((Run(text, style),) if text else ()), style
    runs: list[Run] = []
    pieces = _ESCAPE.split(text)  # text, parameters or None, text, ...
    for index in range(0, len(pieces), 2):
        if index and (parameters := pieces[index - 1]) is not None:
            style = _restyle(style, parameters)
        if piece := pieces[index]:
            if runs and runs[-1].style is style:
                runs[-1] = Run(runs[-1].text + piece, style)
            else:
                runs.append(Run(piece, style))
    return Row(tuple(runs)), style


@lru_cache(maxsize=4096)  # an agent uses some dozen styles, and moves between them on every word
def _restyle(style: Style, parameters: str) -> Style:
    """Return `style` after `ESC [ parameters m`."""
    parts = parameters.split(";")
    index = 0
    while index < len(parts):
        number, *sub = parts[index].split(":")
        number = number.lstrip("0")
        index += 1
        if number in _COLOURS:
            if not sub:
                used = {"5": 2, "2": 4}.get(parts[index].lstrip("0") if index < len(parts) else "", 1)
                sub = parts[index : index + used]
                index += used
            style = _coloured(style, _COLOURS[number], sub)
        elif not sub:
            style = _flagged(style, number)
    return style


def _flagged(style: Style, number: str) -> Style:
    if number == "":
        return PLAIN
    if number in _FLAGS:
        field, on = _FLAGS[number]
        return replace(style, dim=on) if field == "dim" else replace(style, reverse=on)
    if number in _BASIC:
        field, colour = _BASIC[number]
        return _with_colour(style, field, colour)
    return style


def _coloured(style: Style, field: str, form: list[str]) -> Style:
    """Apply `5;n`, `2;r;g;b` or `2::r:g:b` (a colour space before the colours), nothing else."""
    match [part.lstrip("0") or "0" for part in form]:
        case ["5", number] if len(number) <= 3:
            return _with_colour(style, field, number)
        case ["2", *rest] if len(rest) >= 3 and all(len(part) <= 3 for part in rest[-3:]):
            red, green, blue = (min(int(part), 255) for part in rest[-3:])
            return _with_colour(style, field, f"#{red:02x}{green:02x}{blue:02x}")
    return style


def _with_colour(style: Style, field: str, colour: str | None) -> Style:
    if field == "foreground":
        return replace(style, foreground=colour)
    if field == "background":
        return replace(style, background=colour)
    return style


def _characters(text: str) -> list[str]:
    """Split `text` into characters, each with what combines with it (accents, joiners, selectors)."""
    if text.isascii():
        return list(text)
    found: list[str] = []
    for char in text:
        if found and (
            combining(char) or category_of(char) in {"Mn", "Me", "Cf"} or found[-1][-1] == "\u200d"
        ):
            found[-1] += char
        else:
            found.append(char)
    return found


def _cell(char: str, style: Style) -> Cell:
    return Cell(
        char=char,
        width=_width(char),
        dim=style.dim,
        reverse=style.reverse,
        foreground=style.foreground,
        background=style.background,
    )


def _width(char: str) -> int:
    return 2 if char and east_asian_width(char[0]) in "WF" else 1
