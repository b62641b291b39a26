"""Read one value of a driver's file: what it may be, and what is said when it is something else. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

Read = Callable[[Any], Any]  # returns the field's value, or raises Unfit


class Unfit(Exception):
    """A value is not what its key takes; says what that would be."""


def string(value: Any) -> str:
    """Any text."""
    if not isinstance(value, str):
        raise Unfit("a string")
    return value


def name(value: Any) -> str:
    """The name of a driver or of a dialog."""
    if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", value):
        raise Unfit("lower-case letters, digits, - and _")
    return value


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise Unfit("true or false")
    return value


def whole(value: Any) -> int:
    """A whole number."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 1 << 30:
        raise Unfit("a whole number from 0 on")
    return value


def seconds(value: Any) -> float:
    """A time."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 600:
        raise Unfit("seconds from 0 to 600")
    return float(value)


def pattern(value: Any) -> re.Pattern[str]:
    """A regular expression, compiled."""
    if not isinstance(value, str) or not value:
        raise Unfit("a regular expression")
    try:
        return re.compile(value)
    except re.error as error:
        raise Unfit(f"a regular expression ({error})") from None


def option(value: Any) -> re.Pattern[str]:
    """A pattern for one option of a dialog."""
    compiled = pattern(value)
    if "text" not in compiled.groupindex:
        raise Unfit("a regular expression with the group text, and mostly key")
    return compiled


def pattern_of(group: str) -> Read:
    """A pattern that has a group of this name."""

    def read(value: Any) -> re.Pattern[str]:
        compiled = pattern(value)
        if group not in compiled.groupindex:
            raise Unfit(f"a regular expression with the group {group}")
        return compiled

    return read


def answer_key(value: Any) -> str:
    """A key that answers a dialog, or what stands for that of the option."""
    if not isinstance(value, str) or not re.fullmatch(r"\{key\}|[A-Za-z0-9]|Enter|Space|Tab|Up|Down", value):
        raise Unfit('"{key}", a letter, a digit, Enter, Space, Tab, Up or Down')
    return value


def colour(value: Any) -> str:
    """A colour as screens have it: `"246"` or `"#rrggbb"`."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255:
        return str(value)
    if isinstance(value, str) and re.fullmatch(r"#[0-9a-f]{6}", value):
        return value
    raise Unfit('a palette number from 0 to 255 or "#rrggbb"')


def glyph(value: Any) -> str:
    """One character."""
    if not isinstance(value, str) or len(value) != 1:
        raise Unfit("one character")
    return value


def mark(value: Any) -> str:
    """A plain text: tmux takes it as a pattern of its own inside a format, where others mean something."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]{3,}", value):
        raise Unfit("ASCII letters, digits, blanks, _ . and -, four at least")
    return value


def key(value: Any) -> str:
    """A key as tmux names it; Escape and Ctrl-C end agents, so they are none that a start may press."""
    if not isinstance(value, str) or not re.fullmatch(
        r"[A-Za-z0-9]|Enter|Space|Tab|Up|Down|Left|Right", value
    ):
        raise Unfit("a letter, a digit, Enter, Space, Tab, Up, Down, Left or Right")
    return value


def word(value: Any) -> str:
    """A word of a command line."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise Unfit("a word of a command line")
    return value


def words_with(part: str) -> Read:
    """Words of a command line, in one of which `part` is replaced."""

    def read(value: Any) -> tuple[str, ...]:
        words: tuple[str, ...] = several(word)(value)
        if sum(word.count(part) for word in words) != 1:
            raise Unfit(f"words of a command line of which one holds {part}")
        return words

    return read


def condition(value: Any) -> str:
    """A condition on an entry of a transcript."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_.]+=[^=]+", value):
        raise Unfit('a condition such as "attachment.type=queued_command"')
    return value


def choice(known: Iterable[str]) -> Read:
    """One of several words."""
    choices = tuple(known)

    def read(value: Any) -> str:
        if value not in choices:
            raise Unfit("one of " + ", ".join(choices))
        return str(value)

    return read


def several(read: Read, into: Callable[[Iterable[Any]], Any] = tuple) -> Read:
    """A list of such values."""

    def read_all(value: Any) -> Any:
        if not isinstance(value, list):
            raise Unfit("a list")
        try:
            return into([read(item) for item in value])
        except Unfit as error:
            raise Unfit(f"a list of which each is {error}") from None

    return read_all
