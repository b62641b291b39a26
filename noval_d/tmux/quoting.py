"""Write an argument so that tmux's command parser reads back exactly that argument. Pure."""

from __future__ import annotations

import re

from nova_torch.errors import InvalidRequest

# Single quotes keep everything as it is; a quote itself and the control characters stand in double quotes.
_APART = re.compile(r"['\x01-\x1f\x7f]+")


def quote(arg: str) -> str:
    """Return `arg` as one word of a tmux command line.

    Safe are quotes, backslashes, `;`, `#`, `$`, `~`, `{ }`, `%if`, tabs, line feeds and the other control
    characters. Formats (`#{...}`) are expanded by the commands that take a format, whatever the quotes; and
    an argument that begins with `-` needs a `--` in front. Raises InvalidRequest for NUL and lone surrogates.
    """
    if "\0" in arg:
        raise InvalidRequest("an argument for tmux holds a NUL.")
    try:
        arg.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest("an argument for tmux is not valid Unicode.") from error
    if not arg:
        return "''"
    pieces: list[str] = []
    start = 0
    for found in _APART.finditer(arg):
        if found.start() > start:
            pieces.append(f"'{arg[start : found.start()]}'")
        pieces.append('"' + "".join(_escape(char) for char in found.group()) + '"')
        start = found.end()
    if start < len(arg):
        pieces.append(f"'{arg[start:]}'")
    return "".join(pieces)


def _escape(char: str) -> str:
    return char if char == "'" else f"\\{ord(char):03o}"
