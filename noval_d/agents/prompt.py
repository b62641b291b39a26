"""Learn the prompt of a line-based program, and see what somebody has typed behind it. Pure.

Nothing tells a line that a person types from one that the program prints, neither the terminal nor the screen. So
only what ends like a prompt, and stood there alone when each of the last two messages was typed, is taken for it;
what stands between it and the cursor is a draft. Where no such prompt is known, nothing is.
"""

from __future__ import annotations

import re

from noval_d.tmux.screen import Screen

PROMPT = re.compile(r"(?:[>$#❯›»→▶λ]|(?<!\d)%)\s{0,2}\Z")
"""How a prompt ends. Not `34%`, which is how far something has come."""


class Prompt:
    """What is known of one program's prompt."""

    def __init__(self) -> None:
        self._last = ""
        self._own: tuple[str, ...] = ()
        self.known = ""
        """Empty: none."""

    def __repr__(self) -> str:
        return f"<Prompt {self.known!r}>"

    def typed_at(self, line: str, text: str) -> None:
        """Note what stood before the cursor when `text` was typed and nobody's text was there."""
        self._own = tuple(own.strip() for own in text.splitlines())
        if line == self._last and PROMPT.search(line):
            self.known = line
        self._last = line

    def shown(self, line: str) -> bool:
        """Tell whether this is the prompt and nothing behind it."""
        return bool(self.known) and line == self.known

    def behind(self, line: str) -> str:
        """Return what stands between the prompt and the cursor; empty for blanks, and without the prompt.

        Our last text is nobody's: a program shows what it reads a moment before it goes to the next line.
        """
        rest = line[len(self.known) :].strip() if self.known and line.startswith(self.known) else ""
        return "" if any(own.startswith(rest) for own in self._own) else rest

    def forget(self) -> None:
        """Begin anew: another program runs."""
        self._last = self.known = ""


def before_cursor(screen: Screen) -> str:
    """Return what stands left of the cursor in its row; what a program suggests stands to its right."""
    if not 0 <= screen.cursor_y < len(screen.rows):
        return ""
    found, columns = "", 0
    for cell in screen.rows[screen.cursor_y].cells:
        if columns >= screen.cursor_x:
            break
        found += cell.char
        columns += cell.width
    return found + " " * max(0, screen.cursor_x - columns)
