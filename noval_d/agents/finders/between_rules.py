"""The composer of Claude Code: the rows between two rules, with the cursor in them."""

from __future__ import annotations

from noval_d.agents.composer import BLANKS, Composer, indented, is_rule, solid
from noval_d.agents.driver import Driver
from noval_d.tmux.screen import Screen


def between_rules(driver: Driver, screen: Screen) -> Composer | str:
    """Take the rows between the rules nearest above and below the cursor.

    The cursor decides, since other views draw rules too; Claude keeps it (hidden) where one types.
    """
    rules = [index for index, row in enumerate(screen.rows) if is_rule(row, driver)]
    above = max((index for index in rules if index < screen.cursor_y), default=-1)
    end = min((index for index in rules if index >= screen.cursor_y), default=-1)
    first = above + 1
    if end <= first or end == screen.cursor_y:
        return "no input box around the cursor"
    rows = screen.rows[first:end]
    glyph = rows[0].text[:1]
    if glyph in {*driver.prompts, *driver.modes} and rows[0].text[1:2] in BLANKS:
        cut = False
    elif above < 0 and indented(rows[0], driver.indent) and screen.cursor_x >= driver.indent:
        cut, glyph = True, ""
    else:
        return "no prompt in front of the cursor"
    if not all(indented(row, driver.indent) for row in rows[1:]):
        return "what is around the cursor is no input box"
    lines = [solid(row, driver)[driver.indent :].rstrip() for row in rows]
    mode = glyph if glyph in driver.modes else ""
    text = mode + "\n".join(lines).strip("\n" + BLANKS)
    return Composer(text=text, first=first, end=end, cut=cut)
