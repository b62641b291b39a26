"""Read typed arguments from the map of a call; a wrong one is an error that names it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from nova_torch.errors import InvalidRequest, InvalidText
from nova_torch.nearest import suggestion

T = TypeVar("T")
N = TypeVar("N", int, float)

_KINDS = {
    str: "a text",
    bytes: "bytes",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    list: "a list",
    dict: "a map",
}


class Args:
    """The arguments of one call. An absent one and nil are the same; unknown ones are ignored.

    Every method raises InvalidRequest naming the argument and what it should be.
    """

    __slots__ = ("_args",)

    def __init__(self, args: Mapping[str, Any]) -> None:
        self._args = args

    def __repr__(self) -> str:
        return f"<Args {' '.join(sorted(self._args))}>"

    def text(self, name: str) -> str:
        """Return a text that is not empty."""
        return _given(name, self.optional_text(name), "a text")

    def optional_text(self, name: str) -> str | None:
        """Return a text that is not empty, None when it is absent."""
        value = self._args.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise _wrong(name, "a text", value)
        if not value:
            raise InvalidRequest(f"{name} is empty.", "Give it a value or leave it out.")
        return value

    def payload(self, name: str) -> bytes:
        """Return bytes, or a text as UTF-8; empty is allowed."""
        return _given(name, self.optional_payload(name), "bytes or a text")

    def optional_payload(self, name: str) -> bytes | None:
        """Return bytes, or a text as UTF-8, None when it is absent."""
        value = self._args.get(name)
        if value is None or isinstance(value, bytes):
            return value
        if not isinstance(value, str):
            raise _wrong(name, "bytes or a text", value)
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise InvalidText(f"{name} is not UTF-8.", "Send it as bytes.") from error

    def integer(self, name: str, *, least: int | None = None, most: int | None = None) -> int:
        """Return an integer within the bounds, which are allowed themselves."""
        return _given(name, self.optional_integer(name, least=least, most=most), "an integer")

    def optional_integer(self, name: str, *, least: int | None = None, most: int | None = None) -> int | None:
        """Return an integer within the bounds, None when it is absent."""
        value = self._args.get(name)
        if value is None:
            return None
        if type(value) is not int:  # True is no number here
            raise _wrong(name, "an integer", value)
        return _within(name, value, least, most)

    def number(self, name: str, *, least: float | None = None, most: float | None = None) -> float:
        """Return a finite number within the bounds."""
        return _given(name, self.optional_number(name, least=least, most=most), "a number")

    def optional_number(
        self, name: str, *, least: float | None = None, most: float | None = None
    ) -> float | None:
        """Return a finite number within the bounds, None when it is absent."""
        value = self._args.get(name)
        if value is None:
            return None
        if type(value) not in (int, float):
            raise _wrong(name, "a number", value)
        if not math.isfinite(value):
            raise InvalidRequest(f"{name} is {value}.", "It is a finite number.")
        return _within(name, float(value), least, most)

    def flag(self, name: str) -> bool:
        """Return true or false; absent is false."""
        value = self._args.get(name)
        if value is not None and not isinstance(value, bool):
            raise _wrong(name, "true or false", value)
        return bool(value)

    def choice(self, name: str, choices: Collection[str]) -> str:
        """Return one of `choices`."""
        return _given(name, self.optional_choice(name, choices), _listed(choices))

    def optional_choice(self, name: str, choices: Collection[str]) -> str | None:
        """Return one of `choices`, None when it is absent."""
        value = self.optional_text(name)
        if value is not None and value not in choices:
            listed = f"It is {_listed(choices)}."
            raise InvalidRequest(
                f"{name} is {_shown(value)}.", suggestion(value[:64], choices, otherwise=listed)
            )
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts; absent is empty, a single text is a list of one."""
        value = self._args.get(name)
        if value is None:
            return ()
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise _wrong(name, "a list of texts", value)
        if "" in value:
            raise InvalidRequest(f"one of {name} is empty.", "Give it a value or leave it out.")
        return tuple(value)

    def mapping(self, name: str) -> dict[str, Any]:
        """Return a map; absent is empty."""
        value = self._args.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise _wrong(name, "a map with texts as keys", value)
        return dict(value)


def _given(name: str, value: T | None, expected: str) -> T:
    if value is None:
        raise InvalidRequest(f"{name} is missing.", f"It is {expected}.")
    return value


def _within(name: str, value: N, least: N | None, most: N | None) -> N:
    if least is not None and value < least:
        raise InvalidRequest(f"{name} is {value}.", f"It is {least} at least.")
    if most is not None and value > most:
        raise InvalidRequest(f"{name} is {value}.", f"It is {most} at most.")
    return value


def _wrong(name: str, expected: str, value: object) -> InvalidRequest:
    return InvalidRequest(f"{name} must be {expected}, not {_KINDS.get(type(value), 'something else')}.")


def _listed(choices: Collection[str]) -> str:
    return "one of " + ", ".join(choices)


def _shown(value: str) -> str:
    return repr(value if len(value) <= 40 else value[:37] + "...")
