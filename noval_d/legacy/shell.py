"""Tell whether somebody has half typed a line at a shell's prompt. Pure.

A prompt looks as its owner likes, so only a draft that is surely one counts: text behind a usual prompt's end.
"""

from __future__ import annotations

import re

from noval_d.tmux.screen import Screen

_PROMPT_END = re.compile(r"[$#%❯][ \u00a0]")


def draft(screen: Screen) -> str:
    """Return what stands between the prompt and the cursor; "" when nothing does or no prompt is known."""
    if not 0 <= screen.cursor_y < len(screen.rows):
        return ""
    line, column = "", 0
    for cell in screen.rows[screen.cursor_y].cells:
        if column >= screen.cursor_x:
            break
        line, column = line + cell.char, column + cell.width
    ends = list(_PROMPT_END.finditer(line))
    return line[ends[-1].end() :].strip() if ends else ""
