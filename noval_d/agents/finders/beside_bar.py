"""The composer of opencode: a block of colour to the right of a bar, its foot below, with the cursor in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from noval_d.agents.composer import BLANKS, Composer
from noval_d.agents.driver import Driver
from noval_d.tmux.screen import Cell, Screen

BAR = "┃"
FOOT = "╹"
SOLE = "▀"  # right of the foot, as wide as the block
STATUS_ROWS = 2  # below the text: a blank row, and what agent and model are chosen

Columns = Sequence[Cell | None]


@dataclass(frozen=True, slots=True)
class _Block:
    """Where the block is: its bar's column, the column after its last one, its rows."""

    bar: int
    right: int
    first: int
    end: int


def beside_bar(driver: Driver, screen: Screen) -> Composer | str:
    """Take the rows beside the bar that the cursor is in, and read their colour's width.

    Messages of the conversation have bars too, without a foot; menus stand on the block and have a second bar.
    Text nobody typed has the colour of the dots in the row of agent and model; a mode (the shell) has none.
    """
    rows = [_columns(row.cells) for row in screen.rows]
    block = _block(rows, screen)
    if block is None:
        return "no input box around the cursor"
    last = block.end - STATUS_ROWS
    if not block.first < screen.cursor_y < last:
        return "the cursor is not in the text of the input box"
    status = rows[block.end - 1][block.bar + 1 : block.right]
    shown = _text(status).strip(BLANKS)
    muted = driver.ghosts
    if driver.status is not None and (dot := driver.status.search(_text(status))):
        cell = status[dot.start()]
        muted = muted | {cell.foreground} if cell is not None and cell.foreground else muted
        mode = ""
    else:
        mode = f"{shown or 'mode'}: "
    start = block.bar + 1 + driver.indent
    lines = [
        _text(rows[index][start : block.right], muted).rstrip(BLANKS)
        for index in range(block.first + 1, last)
    ]
    return Composer(text=mode + "\n".join(lines).strip("\n" + BLANKS), first=block.first, end=block.end)


def _block(rows: Sequence[Columns], screen: Screen) -> _Block | None:
    if not 0 <= screen.cursor_y < len(rows):
        return None
    row = rows[screen.cursor_y]
    for bar in range(min(screen.cursor_x, len(row))):
        if _char(row, bar) != BAR:
            continue
        end = screen.cursor_y
        while end < len(rows) and _char(rows[end], bar) == BAR:
            end += 1
        if end == len(rows) or _char(rows[end], bar) != FOOT:
            continue
        right = _right(rows[end], bar)
        first = screen.cursor_y
        while first > 0 and _char(rows[first - 1], bar) == BAR and _char(rows[first - 1], right - 1) != BAR:
            first -= 1
        return _Block(bar, right, first, end)
    return None


def _right(foot: Columns, bar: int) -> int:
    """Return the column after the block's last one, where its foot ends."""
    column = bar + 1
    while _char(foot, column) == SOLE:
        column += 1
    return column


def _columns(cells: Sequence[Cell]) -> Columns:
    """Return the cells by column; None is the second half of a wide one."""
    return [part for cell in cells for part in (cell, *(None,) * (cell.width - 1))]


def _char(row: Columns, column: int) -> str:
    cell = row[column] if 0 <= column < len(row) else None
    return cell.char if cell is not None else ""


def _text(cells: Columns, muted: frozenset[str] = frozenset()) -> str:
    """Return the characters, blanks for those of a muted colour."""
    return "".join(
        " " if cell.dim or cell.foreground in muted else cell.char for cell in cells if cell is not None
    )
