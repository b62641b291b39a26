"""Find an agent's input box on a screen and read what somebody typed into it. Pure. One finder a strategy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from noval_d.agents.driver import Driver
from noval_d.tmux.screen import Row, Run, Screen

_BLANKS = " \u00a0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Composer:
    """The input box: what was typed into it, and the rows it takes (`first` to before `end`)."""

    text: str
    first: int
    end: int
    cut: bool = False  # it is taller than the screen: its beginning scrolled out


def find_composer(driver: Driver, screen: Screen) -> Composer | str:
    """Return the composer that has the cursor, or in words why there is none."""
    if driver.cursor_visible is not None and screen.cursor_visible is not driver.cursor_visible:
        return "the cursor is not that of the input box"
    return _FINDERS[driver.strategy](driver, screen)


def _between_rules(driver: Driver, screen: Screen) -> Composer | str:
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
    if glyph in {*driver.prompts, *driver.modes} and rows[0].text[1:2] in _BLANKS:
        cut = False
    elif above < 0 and _indented(rows[0], driver.indent) and screen.cursor_x >= driver.indent:
        cut, glyph = True, ""
    else:
        return "no prompt in front of the cursor"
    if not all(_indented(row, driver.indent) for row in rows[1:]):
        return "what is around the cursor is no input box"
    lines = [solid(row, driver)[driver.indent :].rstrip() for row in rows]
    mode = glyph if glyph in driver.modes else ""
    text = mode + "\n".join(lines).strip("\n" + _BLANKS)
    return Composer(text=text, first=first, end=end, cut=cut)


def _none(driver: Driver, screen: Screen) -> Composer | str:
    return f"the driver {driver.name} has no input box"


_FINDERS: Mapping[str, Callable[[Driver, Screen], Composer | str]] = {
    "between_rules": _between_rules,
    "none": _none,
}


def is_rule(row: Row, driver: Driver) -> bool:
    """Tell whether `row` is a rule as the driver's composer has them."""
    if not row.runs or driver.rule is None or not driver.rule.search(row.text):
        return False
    return driver.rule_dim is None or row.runs[0].style.dim is driver.rule_dim


def solid(row: Row, driver: Driver) -> str:
    """Return the row's text with a blank for each character that nobody typed.

    That is a ghost: dim, of a ghost's colour, or under the cursor with a ghost to its right (the cursor lies
    on the first letter of a ghost).
    """
    texts: list[str] = []
    for index, run in enumerate(row.runs):
        after = row.runs[index + 1] if index + 1 < len(row.runs) else None
        under_cursor = (
            run.style.reverse and len(run.text) == 1 and after is not None and _ghost(after, driver)
        )
        texts.append(" " * len(run.text) if under_cursor or _ghost(run, driver) else run.text)
    return "".join(texts)


def _ghost(run: Run, driver: Driver) -> bool:
    return run.style.dim or run.style.foreground in driver.ghosts


def _indented(row: Row, indent: int) -> bool:
    return not row.text[:indent].strip(_BLANKS)
