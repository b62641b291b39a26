"""Draw the agent's screen as Claude Code draws it: transcript above, composer between two rules. No I/O."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from tests.lab.programs.tui_model import Agent

GLYPH = "❯\u00a0"
SPINNER = "⠂⠐"
REVERSE, PLAIN, DIM, NORMAL = "\x1b[7m", "\x1b[27m", "\x1b[2m", "\x1b[22m"
SETUP = "\x1b[?2004h\x1b[?25l"  # bracketed paste on, hardware cursor hidden
RESTORE = "\x1b[?2004l\x1b[?25h"
TRUST = (
    " Accessing workspace:",
    "",
    " ❯ 1. Yes, I trust this folder",
    "   2. No, exit",
    "",
    " Enter to confirm · Esc to cancel",
)
FIRST_GHOST, QUEUED_GHOST = 'Try "fix lint errors"', "Press up to edit queued messages"


def title(agent: Agent, name: str, frame: int) -> str:
    """Set the window title: a star while idle or asking, a moving braille glyph while busy."""
    glyph = SPINNER[frame % len(SPINNER)] if agent.busy else "✳"
    return f"\x1b]0;{glyph} {name}\x07"


def transcript(entries: list[str], columns: int) -> list[str]:
    """The rows of transcript entries, each followed by an empty one."""
    return [row for entry in entries for row in [*_wrap(_visible(entry), columns - 2), ""]]


def live(agent: Agent, columns: int, lines: int) -> list[str]:
    """The rows that are redrawn in place: the dialog, or spinner, queue and composer."""
    if agent.dialog_open:
        return _dialog(columns)
    rows = ["✻ Working…", ""] if agent.busy else []
    rows += [f"  ❯ {_visible(text).splitlines()[0]}"[: columns - 1] for text in agent.queue[-5:]]
    room = max(1, lines - len(rows) - 4)
    composer = [*_composer(agent, columns)][-room:]
    return [*rows, "─" * columns, *composer, "─" * columns, "  ? for shortcuts"]


def repaint(rows_above: int, above: list[str], rows: list[str], cursor: tuple[int, int]) -> str:
    """Draw the live rows anew, below what joined the transcript, and leave the cursor where `cursor` says.

    `rows_above` is how many of the old live rows are above the cursor.
    """
    up = f"\x1b[{rows_above}A" if rows_above else ""
    row, column = cursor
    back = f"\x1b[{len(rows) - 1 - row}A" if row < len(rows) - 1 else ""
    return f"\r{up}\x1b[J" + "\r\n".join([*above, *rows]) + f"{back}\x1b[{column + 1}G"


def cursor(agent: Agent, rows: list[str], columns: int) -> tuple[int, int]:
    """Row among the live rows, and column: Claude keeps its (hidden) cursor where one types."""
    if agent.dialog_open:
        return len(rows) - 1, 0
    before = _wrap(_visible(agent.draft[: len(agent.draft) - agent.behind]), columns - 3)
    below = len(_wrap(_visible(agent.draft), columns - 3)) - len(before)
    return len(rows) - 3 - below, 2 + sum(map(_cells, before[-1]))


def _composer(agent: Agent, columns: int) -> Iterator[str]:
    if not agent.draft:
        ghost = QUEUED_GHOST if agent.queue else "" if agent.transcript else FIRST_GHOST
        yield f"{GLYPH}{REVERSE}{ghost[:1] or ' '}{PLAIN}{DIM}{ghost[1:]}{NORMAL}"
        return
    rows = _wrap(_visible(agent.draft), columns - 3)
    rows[-1] += f"{REVERSE} {PLAIN}"
    for index, row in enumerate(rows):
        yield (GLYPH if index == 0 else "  ") + row


def _dialog(columns: int) -> list[str]:
    ask = [
        " Bash command",
        "",
        "   touch toolran",
        "",
        " Do you want to proceed?",
        " ❯ 1. Yes",
        "   2. No",
        "",
    ]
    return ["─" * columns, *ask, " Esc to cancel · Tab to amend"]


def _visible(text: str) -> str:
    """What may be printed: a control character in a prompt must not drive the terminal."""
    return "".join(c if c == "\n" or unicodedata.category(c) != "Cc" else "·" for c in text)


def _wrap(text: str, columns: int) -> list[str]:
    """Cut lines where they reach the width, counting wide characters as two cells."""
    rows = []
    for line in text.split("\n"):
        row, used = "", 0
        for character in line:
            width = _cells(character)
            if used + width > columns:
                rows.append(row)
                row, used = "", 0
            row, used = row + character, used + width
        rows.append(row)
    return rows


def _cells(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
