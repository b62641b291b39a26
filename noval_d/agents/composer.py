"""What an input box is, and how its rows are read: what of them somebody typed. Pure. `finders` finds it."""

from __future__ import annotations

from dataclasses import dataclass

from noval_d.agents.driver import Driver
from noval_d.tmux.screen import Row, Run

BLANKS = " \u00a0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Composer:
    """The input box: what was typed into it, and the rows it takes (`first` to before `end`)."""

    text: str
    first: int
    end: int
    near: str = ""  # cursor_line: the rows above as well, which a text of many lines takes
    cut: bool = False  # it is taller than the screen: its beginning scrolled out


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


def indented(row: Row, indent: int) -> bool:
    """Tell whether the first `indent` columns of `row` are blank."""
    return not row.text[:indent].strip(BLANKS)
