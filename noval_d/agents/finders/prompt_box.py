"""The composer of Gemini CLI: the rows around the cursor that share one look, a prompt in front of the first."""

from __future__ import annotations

from noval_d.agents.composer import BLANKS, Composer, indented, is_rule, solid
from noval_d.agents.driver import Driver
from noval_d.tmux.screen import Row, Screen


def prompt_box(driver: Driver, screen: Screen) -> Composer | str:
    """Take the rows around the cursor, up and down to an edge or to where another background begins.

    The agent keeps its cursor (hidden) where one types, so what the conversation holds of the same look is none.
    An empty box shows a placeholder.
    """
    if not 0 <= screen.cursor_y < len(screen.rows) or is_rule(screen.rows[screen.cursor_y], driver):
        return "no input box around the cursor"
    first, end = _around(driver, screen)
    while first < end and not screen.rows[first].text.strip(BLANKS):
        first += 1
    rows = screen.rows[first:end]
    glyph = rows[0].text[: driver.indent].strip(BLANKS) if rows else ""
    if glyph not in {*driver.prompts, *driver.modes} or rows[0].text[driver.indent - 1 :][:1] not in BLANKS:
        return "no prompt in front of the cursor"
    if not all(indented(row, driver.indent) for row in rows[1:]):
        return "what is around the cursor is no input box"
    mode = glyph if glyph in driver.modes else ""
    text = "\n".join(solid(row, driver)[driver.indent :].rstrip() for row in rows).strip("\n" + BLANKS)
    if driver.placeholder is not None and driver.placeholder.fullmatch(" ".join(text.split())):
        text = ""
    return Composer(text=mode + text, first=first, end=end)


def _around(driver: Driver, screen: Screen) -> tuple[int, int]:
    """Return the rows around the cursor that are no edge and have the background of its row."""
    rows, look = screen.rows, _background(screen.rows[screen.cursor_y])
    first, end = screen.cursor_y, screen.cursor_y + 1
    while first > 0 and _inside(rows[first - 1], look, driver):
        first -= 1
    while end < len(rows) and _inside(rows[end], look, driver):
        end += 1
    return first, end


def _inside(row: Row, look: str | None, driver: Driver) -> bool:
    return _background(row) == look and not is_rule(row, driver)


def _background(row: Row) -> str | None:
    return row.runs[0].style.background if row.runs else None
