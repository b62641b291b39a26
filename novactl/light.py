"""Read the arguments of the hot commands without Typer; whatever is not plain is left to Typer.

It never reports an error: an unknown option, a wrong value, --help give None, and the Typer app, made from
the same table, says what is wrong. So it may understand less than Typer, never anything else.
"""

from __future__ import annotations

from novactl.options import CHOICE, COMMON, FLAG, INTEGER, LIST
from novactl.table.hot import HOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from novactl.options import Command, Param, Values


def expand(argv: list[str], commands: tuple[Command, ...] = HOT) -> list[str]:
    """Return `argv` with every option that may stand alone given its value: `--wait` is `--wait=submitted`.

    Neither parser can do this (Typer's options take a value or none), so it is done before both.
    """
    bare = {name: param.bare for c in commands for param in c.params if param.bare for name in param.names}
    if not any(word in bare for word in argv):
        return argv
    command = _command_of(argv, commands)
    if command is None:
        return argv
    taking = _by_name(command.takes())
    out: list[str] = []
    words = iter(argv)
    for word in words:
        param = taking.get(word)
        if word == "--":
            return [*out, word, *words]
        if param is None or param.kind == FLAG:
            out.append(word)
        elif param.bare:
            out.append(f"{word}={param.bare}")
        else:
            out += [word, *_next(words)]
    return out


def parse(argv: list[str]) -> tuple[Command, Values] | None:
    """Return the hot command of `argv` and its values, or None when Typer is to read it."""
    reader = _Reader()
    rest = reader.options(argv, COMMON, stop_at_word=True)
    if not rest:
        return None
    command = _find(rest[0], HOT)
    if command is None:
        return None
    if command.lenient:
        if "--help" in rest or "-h" in rest:
            return None
        defaults = {param.name: param.empty for param in command.takes()}
        return command, {**defaults, **reader.values, "event": (rest[1:] or [""])[0]}
    params = command.takes()
    words = reader.options(rest[1:], params)
    if words is None:
        return None
    arguments = [param for param in params if not param.names]
    if len(words) > len(arguments):
        return None
    for param, word in zip(arguments, words, strict=False):
        if not reader.keep(param, word):
            return None
    if any(param.required for param in arguments[len(words) :]):
        return None
    return command, {param.name: reader.values.get(param.name, param.empty) for param in params}


class _Reader:
    """Collects values; gives up (None, False) at anything that is not plain."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: Values = {}

    def options(
        self, words: list[str], params: tuple[Param, ...], *, stop_at_word: bool = False
    ) -> list[str] | None:
        """Take the options out of `words`; return the other words."""
        names = _by_name(params)
        left: list[str] = []
        rest = list(words)
        while rest:
            word = rest.pop(0)
            if word == "--":
                return None if stop_at_word else [*left, *rest]
            if not word.startswith("-") or word == "-":
                if stop_at_word:
                    return [word, *rest]
                left.append(word)
                continue
            name, equals, value = word.partition("=")
            param = names.get(name)
            if param is None or (equals and not name.startswith("--")):
                return None
            if param.kind == FLAG:
                if equals:
                    return None
                self.values[param.name] = True
                continue
            if not equals:
                if not rest or (rest[0].startswith("-") and rest[0] != "-"):
                    return None
                value = rest.pop(0)
            if not self.keep(param, value):
                return None
        return left

    def keep(self, param: Param, value: str) -> bool:
        """Keep a value that is right for `param`."""
        if param.kind == CHOICE and value not in param.choices:
            return False
        if param.kind == INTEGER:
            if not (value.isascii() and value.isdigit() and len(value) < 10):
                return False
            self.values[param.name] = int(value)
        elif param.kind == LIST:
            self.values[param.name] = [*self.values.get(param.name, []), value]
        else:
            self.values[param.name] = value
        return True


def _by_name(params: tuple[Param, ...]) -> dict[str, Param]:
    return {name: param for param in params for name in param.names}


def _find(word: str, commands: tuple[Command, ...]) -> Command | None:
    return next((command for command in commands if command.path == (word,)), None)


def _command_of(argv: list[str], commands: tuple[Command, ...]) -> Command | None:
    taking = _by_name(COMMON)
    words = iter(argv)
    for word in words:
        if not word.startswith("-"):
            return _find(word, commands)
        param = taking.get(word)
        if param is not None and param.kind != FLAG:
            _next(words)
    return None


def _next(words: Iterator[str]) -> list[str]:
    following = next(words, None)
    return [] if following is None else [following]
