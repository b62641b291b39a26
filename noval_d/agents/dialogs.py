"""Read an open dialog: its question, its options, and a fingerprint of all that it says. Pure."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from nova_torch.errors import InvalidRequest
from noval_d.agents.composer import is_rule
from noval_d.agents.driver import Driver
from noval_d.agents.sight import longest_piece, look
from noval_d.tmux.screen import Row, Screen

GUARD_ROWS = 16  # rows of a dialog that tmux looks for in the very command that answers it
FINGERPRINT_CHARS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One way to answer: the key that is pressed for it, and what it says."""

    key: str
    text: str
    chosen: bool = False
    piece: str = ""
    """A plain piece of its row for tmux's own search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialog:
    """An open dialog as the screen shows it. `options` is empty where they cannot be told for sure."""

    question: str
    options: tuple[Option, ...]
    fingerprint: str
    """Of everything it says but its cursor: another command to allow is another dialog."""
    rows: tuple[str, ...]
    """What it shows, for people."""
    pieces: tuple[str, ...]
    """Plain pieces of it for tmux's own search: of the question, the options, what stands above them, the rest."""


@dataclass(frozen=True, slots=True)
class _Found:
    row: int
    column: int
    option: Option


def read_dialog(driver: Driver, screen: Screen) -> Dialog | None:
    """Return the dialog that is open on `screen`, or None."""
    question = look(driver, screen).dialog
    if question is None:
        return None
    found = _options(driver, screen)
    first = found[0].row if found else _question_row(screen, question)
    begins = _beginning(driver, screen, first)
    rows = [row for index in range(begins, len(screen.rows)) if (row := screen.text(index))]
    said = "\n".join(_without_cursor(driver, row) for row in rows)
    asked = [screen.text(index) for index in range(first - 1, begins - 1, -1)]
    options = tuple(each.option for each in found)
    return Dialog(
        question=question,
        options=options,
        fingerprint=hashlib.sha256(said.encode()).hexdigest()[:FINGERPRINT_CHARS],
        rows=tuple(rows),
        pieces=_pieces([question, *(option.piece for option in options), *asked, *rows]),
    )


def choose(dialog: Dialog, choice: str) -> Option:
    """Return the option that `choice` means: its key, or the beginning of its text if only one begins so.

    Raises InvalidRequest with the options.
    """
    wanted = " ".join(choice.split()).casefold()
    named = [option for option in dialog.options if option.key.casefold() == wanted]
    texts = [(" ".join(option.text.split()).casefold(), option) for option in dialog.options]
    whole = [option for text, option in texts if text == wanted]
    begun = [option for text, option in texts if wanted and text.startswith(wanted)]
    for fit in (named, whole, begun):
        if len(fit) == 1:
            return fit[0]
    listed = "; ".join(f"{option.key}. {option.text}" for option in dialog.options)
    if not dialog.options:
        raise InvalidRequest(
            "the options of this dialog cannot be read for sure.", "Answer it in its pane: novactl attach"
        )
    several = "more than one option begins" if begun else "no option of this dialog is or begins"
    raise InvalidRequest(f"{several} with {choice!r}.", f"One of: {listed}")


def _options(driver: Driver, screen: Screen) -> list[_Found]:
    """Return the lowest list of options, in order; empty unless it is one for sure.

    A list counts up from 1 in one column and has one cursor; what stands between its rows explains them. A list
    within the text that is asked about (a plan, a file) stands above it.
    """
    pattern = driver.dialog_option
    if pattern is None:
        return []
    found: list[_Found] = []
    for index in range(len(screen.rows) - 1, -1, -1):
        in_row = _in_row(driver, screen, index)
        for each in reversed(in_row):
            if not found or _before(each, found[0]):
                found.insert(0, each)
        if len(in_row) > 1 or (found and found[0].option.key == "1"):
            break
    if not found or (found[0].option.key.isdigit() and found[0].option.key != "1"):
        return []
    cursors = sum(each.option.chosen for each in found)
    marked = "chosen" in pattern.groupindex or driver.dialog_next
    return found if cursors == 1 or not marked else []


def _in_row(driver: Driver, screen: Screen, index: int) -> list[_Found]:
    """Return the options that stand in a row; one without a key has its place in the row for it."""
    pattern = driver.dialog_option
    assert pattern is not None
    row = screen.text(index)
    found: list[_Found] = []
    for place, match in enumerate(pattern.finditer(row), 1):
        groups = match.groupdict()
        key = groups.get("key") or str(place)
        option = Option(
            key=key,
            text=match["text"].replace(f"({key})", key).strip(),
            chosen=_marked(screen.rows[index], match) if driver.dialog_next else bool(groups.get("chosen")),
            piece=longest_piece(match["text"] if driver.dialog_next else row),
        )
        found.append(_Found(index, match.start("key" if "key" in groups else "text"), option))
    return found


def _marked(row: Row, match: re.Match[str]) -> bool:
    """Tell whether an option has a background of its own, another one than most of its row."""
    backgrounds = [run.style.background for run in row.runs for _ in run.text]
    usual, _ = Counter(backgrounds).most_common(1)[0]
    return backgrounds[match.start("text")] != usual


def _before(each: _Found, following: _Found) -> bool:
    """Tell whether an option comes right before another one of the same list, in one row or in one column."""
    if each.row != following.row and each.column != following.column:
        return False
    if each.option.key.isdigit() and following.option.key.isdigit():
        return int(each.option.key) == int(following.option.key) - 1
    return not each.option.key.isdigit() and not following.option.key.isdigit()


def _question_row(screen: Screen, question: str) -> int:
    return next((i for i in range(len(screen.rows) - 1, -1, -1) if question in screen.text(i)), 0)


def _beginning(driver: Driver, screen: Screen, first: int) -> int:
    """Return the row where the dialog begins: below the rule above its options, where there are rules.

    Else at the topmost row that could be its first one, or at the top of the screen: rather too high up, since
    what is left out does not make it another dialog.
    """
    if driver.rule is not None:
        rules = (index for index in range(first - 1, -1, -1) if is_rule(screen.rows[index], driver))
        return next(rules, -1) + 1
    if driver.dialog_at_cursor:  # what is asked about stands above, as other questions do
        return 0
    rows = (index for index in range(first) if _is_sign(driver, screen.text(index)))
    return next(rows, 0)


def _is_sign(driver: Driver, row: str) -> bool:
    return any(mark in row for mark in driver.dialog_marks) or any(p.search(row) for p in driver.dialogs)


def _without_cursor(driver: Driver, row: str) -> str:
    match = driver.dialog_option.search(row) if driver.dialog_option is not None else None
    if match is not None and match.groupdict().get("chosen"):
        start, end = match.span("chosen")
        row = row[:start] + row[end:]
    return " ".join(row.split())


def _pieces(texts: Sequence[str]) -> tuple[str, ...]:
    found = dict.fromkeys(piece for text in texts if len(piece := longest_piece(text)) > 2)
    return tuple(found)[:GUARD_ROWS]
