"""Judge a screen by an agent's driver: the composer, a dialog, busy, and whether a text has landed. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from noval_d.agents.composer import Composer, is_rule
from noval_d.agents.driver import Driver
from noval_d.agents.finders import find_composer
from noval_d.tmux.screen import Row, Screen

HEAD_CHARS = 24
TAIL_CHARS = 16
LINE_TAIL_CHARS = 12
SHORT_CHARS = 8  # a text so short may be a piece of anything: it must be the whole composer
GUARD_CHARS = 40
BORDERS = " \u00a0│┃"  # around the rows of a dialog
PENDING_ROWS = 40  # what waits to be taken stands right above the composer, with all its texts

_PIECE = re.compile(r"[A-Za-z0-9_.-]+(?: [A-Za-z0-9_.-]+)*")
_OPTION = re.compile(r"(?:\S )?\d+\.")
_FRAME = " \u00a0●■✕⎿└├│"
_HINT = re.compile(r"(?:\[[^\[\]]*\]|<[^<>]*>)+")
_QUESTION = re.compile(r"[\w\]]\?(?:\s|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a screen says about its agent."""

    composer: str | None  # what somebody typed and did not send; "" nothing; None: no composer to be seen
    pasted: bool = False  # the composer holds a marker that stands for a long paste
    near: str = ""  # what stands around the line with the cursor, where that is all that is known
    cut: bool = False  # the composer is taller than the screen: its beginning is not to be seen
    dialog: str | None = None  # the question of an open dialog
    busy: bool = False
    pending: bool = False  # it shows texts that were sent and that it has not taken yet
    limit: str = ""  # what the agent says of a usage limit that is reached
    compacting: bool = False  # it compacts its conversation, and says so
    starting: bool = False  # nothing is drawn yet
    home: bool = False  # the composer is that of a start screen, and goes away with the first prompt
    reason: str = ""  # why there is no composer
    absent_marks: tuple[str, ...] = ()  # marks of dialogs that are nowhere on the screen

    def __repr__(self) -> str:
        states = [
            name
            for name in ("pasted", "cut", "busy", "pending", "compacting", "starting", "home")
            if getattr(self, name)
        ]
        box = "-" if self.composer is None else f"{len(self.composer)} chars"
        said = [*states, *([f"dialog={self.dialog!r}"] if self.dialog else []), self.reason]
        return " ".join(filter(None, [f"<Sight composer={box}", *said])) + ">"


def look(driver: Driver, screen: Screen) -> Sight:
    """Return what `screen` says. A dialog counts only where no composer has the cursor."""
    whole = "\n".join(row.text.rstrip() for row in screen.rows)
    found = _composer(driver, screen)
    composer = None if isinstance(found, str) else found
    around = screen.rows[-driver.dialog_rows :]
    if composer and driver.strategy != "cursor_line":  # such a line says not where its box ends
        above_it = screen.rows[max(composer.first - driver.busy_above, 0) : composer.first]
        around = above_it + screen.rows[composer.end :]
    busy = bool(driver.title_busy and driver.title_busy.search(screen.title))
    busy = busy or any(_any(driver.busy, row.text) for row in around)
    at_work = driver.busy_cursor_hidden and not screen.cursor_visible
    above = _above(driver, screen, composer)
    compacting = any(_any(driver.compacting, row) for row in above)
    busy = busy or at_work or (compacting and driver.compacting_alone)
    return Sight(
        composer=composer.text if composer else None,
        pasted=bool(composer and driver.marker and driver.marker.search(composer.text)),
        near=composer.near if composer else "",
        cut=bool(composer and composer.cut),
        dialog=None if composer or at_work else _dialog(driver, screen),
        busy=busy,
        pending=busy and composer is not None and _pending(driver, screen, composer),
        limit=_waits(driver, screen, around if composer else ()) if busy else _limit(driver, above),
        compacting=busy and compacting,
        starting=composer is None and not whole.strip(),
        home=composer is not None and _home(driver, screen, composer),
        reason=found if isinstance(found, str) else "",
        absent_marks=tuple(mark for mark in driver.dialog_marks if mark not in whole),
    )


def landed(driver: Driver, sight: Sight, typed: str) -> bool:
    """Tell whether `typed` (as it was pasted) is in the composer; DELIVERY 3.2.

    White space does not count, nor what terminals draw in their own ways (combining, joining and modifying
    characters, pictures): an agent wraps, indents, expands tabs and normalises. The head or the tail of the
    text is enough, unless it is short.
    """
    if sight.composer is None:
        return False
    if sight.pasted and stands_for(driver, sight.composer, typed):
        return True
    if driver.strategy == "cursor_line":
        return _landed_on_line(sight.composer, sight.near, typed)
    for essence in (_letters, _visible):
        if wanted := essence(typed):
            seen = essence(sight.composer)
            if len(wanted) < SHORT_CHARS and not sight.cut:
                return seen == wanted or _hinted(seen, wanted)
            return wanted[:HEAD_CHARS] in seen or wanted[-TAIL_CHARS:] in seen
    return bool(sight.composer)


def _hinted(seen: str, wanted: str) -> bool:
    """Tell whether `seen` is the command `wanted` with what the agent says of its arguments: `/clear [name]`."""
    return wanted.startswith("/") and seen.startswith(wanted) and bool(_HINT.fullmatch(seen[len(wanted) :]))


def _landed_on_line(line: str, near: str, typed: str) -> bool:
    """Tell whether the line with the cursor is a piece of `typed`, with its beginning or end there or right above.

    The line itself must be ours: what drew a question below a text of ours has the cursor behind the question.
    """
    for essence in (_letters, _visible):
        if wanted := essence(typed):
            seen, around = essence(line), essence(near)
            if not seen or seen not in wanted:
                return False
            if len(wanted) < SHORT_CHARS:
                return seen == wanted
            return wanted[:HEAD_CHARS] in around or wanted[-LINE_TAIL_CHARS:] in around
    return False


def echoes(driver: Driver, screen: Screen, typed: str, chars: int = HEAD_CHARS) -> int:
    """Return how often the beginning or the end of `typed` stands above the composer: sent, or queued there.

    It is what tells a text that was sent and stayed in the composer from one whose Enter was swallowed.
    """
    composer = _composer(driver, screen)
    if isinstance(composer, str):
        return 0
    above = _letters("".join(row.text for row in screen.rows[: composer.first]))
    wanted = _letters(typed)
    if not wanted:
        return 0
    head, tail = wanted[:chars], wanted[-chars:]
    return max(above.count(head), above.count(tail))


def begun(driver: Driver, screen: Screen, argv: Sequence[str]) -> bool:
    """Tell whether a row around the composer shows that the start, with its dialogs, is over.

    `argv` is the agent's command line: where it goes on with a conversation, another sign may be needed.
    """
    resumes = driver.ready_resumed is not None and driver.ready_resumed.search(" ".join(argv))
    sign = driver.ready_resumed_sign if resumes else driver.ready_sign
    composer = _composer(driver, screen)
    if sign is None or isinstance(composer, str):
        return False
    around = (*screen.rows[: composer.first], *screen.rows[composer.end :])
    return any(sign.search(row.text) for row in around)


def is_rest(driver: Driver, sight: Sight, typed: str, *, begun: bool = False) -> bool:
    """Tell whether the composer holds `typed` and nothing else; with `begun` its beginning or end is enough."""
    if not sight.composer or sight.cut:
        return False
    if sight.pasted:
        marker = driver.marker
        alone = marker is not None and marker.fullmatch("".join(sight.composer.split("\n")).strip())
        return bool(alone) and stands_for(driver, sight.composer, typed)
    wanted, seen = _letters(typed), _letters(sight.composer)
    part = wanted.startswith(seen) or wanted.endswith(seen)
    return bool(seen) and (part if begun else wanted == seen)


def is_mixed(driver: Driver, sight: Sight, typed: str) -> bool:
    """Tell whether the composer positively holds `typed`, and something else that was typed before or behind it.

    A box that shows a piece of it only (it scrolls) holds nothing else; a line with the cursor that holds more than
    ours is none in which it has landed.
    """
    if not sight.composer or driver.strategy == "cursor_line":
        return False
    if sight.pasted and driver.marker is not None and stands_for(driver, sight.composer, typed):
        beside, markers = driver.marker.subn("", "".join(sight.composer.split("\n")))
        return markers > 1 or bool(_letters(beside))
    essence = _letters if _letters(typed) else _visible
    # aider draws a tab as two visible characters
    composer = sight.composer.replace("^I", "") if "\t" in typed else sight.composer
    wanted, seen = essence(typed), essence(composer)
    if not wanted or seen in wanted or _hinted(seen, wanted):
        return False
    head, tail = seen.find(wanted[:HEAD_CHARS]), seen.rfind(wanted[-TAIL_CHARS:])
    if wanted in seen or head > 0 or 0 <= tail < len(seen) - len(wanted[-TAIL_CHARS:]):
        return True
    return max(head, tail) >= 0 and len(seen) > len(wanted)


def is_typed_behind(screen: Screen, typed: str) -> bool:
    """Tell whether between the end of `typed` and the cursor of its row there is something else.

    For programs of which nobody knows where their input is: False whenever that cannot be seen.
    """
    if not screen.cursor_visible or screen.cursor_y >= len(screen.rows):
        return False
    shown, columns = "", 0
    for cell in screen.rows[screen.cursor_y].cells:
        if columns >= screen.cursor_x:
            break
        shown, columns = shown + cell.char, columns + cell.width
    before, end = _letters(shown), _letters(typed)[-LINE_TAIL_CHARS:]
    found = before.rfind(end) if end else -1
    return found >= 0 and found + len(end) < len(before)


def guard_text(sight: Sight, typed: str) -> str | None:
    """Return a piece of what the composer shows that tmux can search for (`#{C:...}`), None if there is none.

    It is plain ASCII without characters that mean something to tmux formats and patterns, from one row, and,
    unless a marker stands there, from `typed`.
    """
    ours = None if sight.pasted else " ".join(typed.split())
    pieces = (piece for row in (sight.composer or "").split("\n") for piece in _PIECE.findall(row))
    longest = max((_piece_of(ours, piece) for piece in pieces), key=len, default="")
    return longest[:GUARD_CHARS].rstrip() or None


def longest_piece(text: str) -> str:
    """Return the longest piece of `text` that tmux can search for (`#{C:...}`); "" if there is none."""
    return max(_PIECE.findall(text), key=len, default="")[:GUARD_CHARS].rstrip()


def _piece_of(ours: str | None, piece: str) -> str:
    """Return the longest run of words of `piece` that is in `ours`; the whole piece when `ours` is None."""
    if ours is None or piece in ours:
        return piece
    words = piece.split(" ")
    runs = (
        run
        for size in range(len(words) - 1, 0, -1)
        for start in range(len(words) - size + 1)
        if (run := " ".join(words[start : start + size])) in ours
    )
    return next(runs, "")


def _composer(driver: Driver, screen: Screen) -> Composer | str:
    if driver.title_elsewhere and driver.title_elsewhere.search(screen.title):
        return f"another view is open: {screen.title}"
    return find_composer(driver, screen)


def _dialog(driver: Driver, screen: Screen) -> str | None:
    """Return the dialog's question: the last row that asks something, else its title, else its sign."""
    if driver.dialog_at_cursor:
        return _asked_at_cursor(driver, screen)
    rows = [row.strip(BORDERS) for row in screen.bottom(driver.dialog_rows).split("\n")]
    sign = next((row for row in rows if _any(driver.dialogs, row)), None)
    if sign is None:
        return None
    if questions := [row for row in rows if _QUESTION.search(row) and not _OPTION.match(row)]:
        return questions[-1]
    last_rule = max((index for index, row in enumerate(screen.rows) if is_rule(row, driver)), default=None)
    below = screen.rows[last_rule + 1 :] if last_rule is not None else ()
    return next((text for row in below if (text := row.text.strip(" │╭╮─"))), sign)


def _asked_at_cursor(driver: Driver, screen: Screen) -> str | None:
    """Return the question whose sign ends in the cursor's row; in a narrow pane it may begin further up."""
    end = screen.cursor_y + 1
    if end > len(screen.rows):
        return None
    rows = [row.text for row in screen.rows[max(end - driver.dialog_rows, 0) : end]]
    begins = [len("".join(rows[:index])) for index in range(len(rows))]
    joined = "".join(rows)
    signs = (match for pattern in driver.dialogs for match in pattern.finditer(joined))
    found = next((sign for sign in signs if sign.end() > begins[-1]), None)
    if found is None:
        return None
    return joined[max(begin for begin in begins if begin <= found.start()) :].strip(BORDERS)


def _above(driver: Driver, screen: Screen, composer: Composer | None) -> list[str]:
    """Return the last rows above the composer (without one: of the screen), lowest first, no blank ones."""
    rows = screen.rows[: composer.first] if composer else screen.rows
    texts = [text for row in reversed(rows) if not is_rule(row, driver) and (text := row.text.rstrip())]
    return texts[: driver.limit_rows]


def _home(driver: Driver, screen: Screen, composer: Composer) -> bool:
    home = driver.home
    return home is not None and any(home.search(row.text) for row in screen.rows[: composer.first])


def _pending(driver: Driver, screen: Screen, composer: Composer) -> bool:
    rows = screen.rows[max(composer.first - PENDING_ROWS, 0) : composer.first]
    return any(_any(driver.pending, row.text) for row in rows)


def _limit(driver: Driver, above: Iterable[str]) -> str:
    """Return the row that tells of a reached limit, unless a lower one says that it is over."""
    for row in above:
        if _any(driver.limits, row):
            return row.strip(_FRAME)
        if driver.limit_over and driver.limit_over.search(row):
            return ""
    return ""


def _waits(driver: Driver, screen: Screen, around: Sequence[Row]) -> str:
    """Return what a working agent says of the limit whose end it waits for: what its pattern matches.

    Without an input box the lowest rows say it: a dialog in the midst of a turn.
    """
    rows = [row.text for row in around] or screen.bottom(driver.dialog_rows).split("\n")
    found = (pattern.search(row) for row in rows for pattern in driver.limit_waits)
    return next((" ".join(match.group().split()) for match in found if match), "")


def _any(patterns: Iterable[re.Pattern[str]], text: str) -> bool:
    return any(pattern.search(text) for pattern in patterns)


def stands_for(driver: Driver, composer: str, typed: str) -> bool:
    """Tell whether a marker in the composer is for as many lines, or characters, as `typed` has."""
    assert driver.marker is not None
    feeds = typed.count("\n")
    units = len(typed.encode("utf-16-le", "surrogatepass")) // 2  # what JavaScript calls characters
    sizes = {
        "lines": {feeds},
        "rows": {feeds + 1},
        "trimmed": {typed.strip().count("\n") + 1},
        "chars": {len(typed), units},
    }
    told = [name for name in driver.marker.groupindex if name in sizes]
    return any(
        all(int(found[name] or 0) in sizes[name] for name in told if found[name] or name == "lines")
        for found in driver.marker.finditer("".join(composer.split("\n")))
    )


def _letters(text: str) -> str:
    """Letters, digits and ASCII punctuation, composed. `_` is what tmux draws for what it cannot."""
    return "".join(
        char
        for char in unicodedata.normalize("NFC", text)
        if char.isalnum() or (char.isascii() and char.isprintable() and char not in " _")
    )


def _visible(text: str) -> str:
    """Everything else that is surely drawn: no blanks, combining marks, joiners, modifiers, replacements."""
    return "".join(
        char
        for char in unicodedata.normalize("NFC", text)
        if char != "\ufffd"
        and unicodedata.category(char) not in {"Zs", "Zl", "Zp", "Cc", "Cf", "Cn", "Mn", "Me", "Sk"}
    )
