"""The composer of aider: rows that each begin with the prompt, the cursor in one of them."""

from __future__ import annotations

from noval_d.agents.composer import BLANKS, Composer, solid
from noval_d.agents.driver import Driver
from noval_d.tmux.screen import Screen


def at_prompt(driver: Driver, screen: Screen) -> Composer | str:
    """Take the rows around the cursor that begin with the prompt: aider repeats it before every row of a draft.

    What was sent stands in the same form further up, with a blank row or a rule between.
    """
    prompt = driver.prompt
    rows = screen.rows
    if prompt is None or not 0 <= screen.cursor_y < len(rows):
        return "no prompt in front of the cursor"
    begin = prompt.match(rows[screen.cursor_y].text)
    if begin is None or screen.cursor_x < begin.end():
        return "no prompt in front of the cursor"
    mark = begin.group()
    first = end = screen.cursor_y
    while first > 0 and rows[first - 1].text.startswith(mark):
        first -= 1
    while end < len(rows) and rows[end].text.startswith(mark):
        end += 1
    lines = [solid(row, driver)[len(mark) :].rstrip(BLANKS) for row in rows[first:end]]
    return Composer(text="\n".join(lines).strip("\n" + BLANKS), first=first, end=end, cut=first == 0)
