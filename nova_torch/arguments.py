"""Check what a program passes to the library: a wrong type is one sentence that names the argument. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable

from nova_torch.errors import InvalidRequest, InvalidText
from nova_torch.nearest import suggestion


def text(name: str, value: object) -> str:
    """Return a text that is UTF-8; it may be empty."""
    if not isinstance(value, str):
        raise _wrong(name, "a text", value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidText(f"{name} is not UTF-8.", "Encode it as UTF-8.") from None
    return value


def optional_text(name: str, value: object) -> str | None:
    """Return a text that is UTF-8 and not empty, or None."""
    if value is None:
        return None
    if not text(name, value):
        raise InvalidRequest(f"{name} is empty.", "Give it a value or leave it out.")
    return str(value)


def choice(name: str, value: object, known: Iterable[str]) -> str:
    """Return one of the known words."""
    word, words = text(name, value), [str(each) for each in known]
    if word not in words:
        raise InvalidRequest(
            f"{word!r} is not a {name}.", suggestion(word, words, otherwise=f"One of: {', '.join(words)}.")
        )
    return word


def texts(name: str, value: object) -> tuple[str, ...]:
    """Return the texts of a list; a single text is a list of one, None an empty one."""
    if value is None:
        return ()
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, (list, tuple, set, frozenset)) or not all(
        isinstance(i, str) and i for i in items
    ):
        raise _wrong(name, "a list of texts", value)
    return tuple(text(name, item) for item in items)


def seconds(name: str, value: object) -> float | None:
    """Return a duration in seconds, None for no limit."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(name, "a number of seconds", value)
    if not math.isfinite(value) or value < 0:
        raise InvalidRequest(f"{name} is {value}.", "It is a number of seconds, not below 0.")
    return float(value)


def whole(name: str, value: object, *, least: int, most: int | None = None) -> int | None:
    """Return a whole number within the limits, or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(name, "a whole number", value)
    if value < least or (most is not None and value > most):
        limits = f"from {least} to {most}" if most is not None else f"of at least {least}"
        raise InvalidRequest(f"{name} is {value}.", f"It is a whole number {limits}.")
    return value


def _wrong(name: str, wanted: str, value: object) -> InvalidRequest:
    return InvalidRequest(f"{name} must be {wanted}, not {type(value).__name__}.")
