"""The composer of Codex: the row behind the bottom-most prompt glyph, and what is indented below it."""

from __future__ import annotations

from collections.abc import Sequence

from noval_d.agents.composer import BLANKS, Composer, indented, solid
from noval_d.agents.driver import Driver
from noval_d.tmux.screen import Row, Screen


def above_footer(driver: Driver, screen: Screen) -> Composer | str:
    """Take the rows from the prompt glyph that is nearest above the cursor down to the footer.

    The glyph counts only as Codex draws that of its input box: plain, where menus draw the chosen row reversed
    and the conversation has dim glyphs on a background. The footer is the lowest block of rows, behind a blank
    one; a composer as tall as the screen has none.
    """
    first = _prompt(driver, screen)
    if first is None or screen.cursor_y >= len(screen.rows):
        return "no prompt in front of the cursor"
    end = _end(screen, first)
    rows = screen.rows[first:end]
    if not all(indented(row, driver.indent) for row in screen.rows[first + 1 :]):
        return "what is around the cursor is no input box"
    if screen.cursor_y > first and _ghostly(screen.rows[screen.cursor_y], driver):
        return "the cursor is in the footer"
    glyph = rows[0].text[0]
    lines = [solid(row, driver)[driver.indent :].rstrip() for row in rows]
    mode = glyph if glyph in driver.modes else ""
    return Composer(text=mode + "\n".join(lines).strip("\n" + BLANKS), first=first, end=end)


def _prompt(driver: Driver, screen: Screen) -> int | None:
    """Return the row of the lowest prompt glyph at or above the cursor."""
    rows = enumerate(screen.rows[: screen.cursor_y + 1])
    return max((index for index, row in rows if _is_prompt(row, driver)), default=None)


def _is_prompt(row: Row, driver: Driver) -> bool:
    if row.text[:1] not in {*driver.prompts, *driver.modes} or row.text[1:2] not in {"", *BLANKS}:
        return False
    style = row.runs[0].style
    return not (style.dim or style.reverse or style.background)


def _end(screen: Screen, first: int) -> int:
    """Return the row behind the composer's last one."""
    texts = [row.text.strip(BLANKS) for row in screen.rows]
    last = _up(texts, len(texts), first, blank=True)
    block = _up(texts, last, first, blank=False)
    if block <= first + 1 or screen.cursor_y >= block:
        return max(last, screen.cursor_y + 1)
    return max(_up(texts, block, first, blank=True), screen.cursor_y + 1)


def _up(texts: Sequence[str], end: int, first: int, *, blank: bool) -> int:
    """Return the first of the rows before `end` that are all blank, or all not."""
    while end > first + 1 and (not texts[end - 1]) is blank:
        end -= 1
    return end


def _ghostly(row: Row, driver: Driver) -> bool:
    """Tell whether a row begins with text that nobody typed."""
    return not solid(row, driver)[driver.indent :][:1].strip(BLANKS) and bool(
        row.text[driver.indent :][:1].strip(BLANKS)
    )
