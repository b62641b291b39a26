"""Print for people and for programs: data on stdout, everything else on stderr. Light.

On a terminal a list is an aligned table; anywhere else it is tab-separated lines without a heading. Whatever
a message or a title holds, no control byte of it reaches a terminal.
"""

from __future__ import annotations

import os
import sys

from nova_torch.clean import clean
from nova_torch.errors import NovaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

GAP = "  "
_COLOURS = {
    **dict.fromkeys(("idle", "submitted", "acknowledged", "replied", "ok", "up", "ready"), "32"),
    **dict.fromkeys(("busy", "accepted", "queued", "typed", "starting"), "36"),
    **dict.fromkeys(
        (
            "dialog",
            "draft",
            "paused",
            "held",
            "warning",
            "warn",
            "unknown",
            "unconfirmed",
            "fallback",
            "draining",
            "degraded",
            "disconnected",
        ),
        "33",
    ),
    **dict.fromkeys(("exited", "lost", "failed", "expired", "dead", "error", "fail", "down"), "31"),
}


class PipeGone(Exception):
    """Whoever reads stdout has gone."""


def on_terminal() -> bool:
    """Tell whether stdout is a terminal."""
    return os.isatty(1)


def write(text: str) -> None:
    """Write `text` to stdout at once. Raises PipeGone, NovaError (a full disk)."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise PipeGone from None
    except OSError as error:
        raise NovaError(
            f"standard output cannot be written: {error.strerror}.",
            "What was asked for may be done all the same.",
        ) from None


def line(text: str) -> None:
    """Print one line of data."""
    write(text + "\n")


def json_line(value: Any) -> None:
    """Print one line of JSON."""
    import json

    line(json.dumps(value, ensure_ascii=False, default=_jsonable, separators=(", ", ": ")))


def note(text: str, *, quiet: bool = False) -> None:
    """Print a line for people on stderr, unless they want none."""
    if not quiet:
        _to_stderr(text)


def error(sentence: str) -> None:
    """Print `novactl: <what happened> <what helps>` on stderr."""
    _to_stderr(f"novactl: {safe(sentence)}")


def safe(text: object) -> str:
    """Return `text` on one line, without anything that a terminal would obey."""
    return clean(str(text)).replace("\n", "\\n").replace("\t", "\\t")


def text(body: object) -> str:
    """Return a body as a terminal may see it: its own lines and tabs, nothing that the terminal would obey."""
    return clean(str(body)).rstrip("\n")


def coloured(word: str) -> str:
    """Return a state in its colour; as it is when stdout is no terminal or NO_COLOR is set."""
    colour = _COLOURS.get(word)
    if colour is None or not on_terminal() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return word
    return f"\x1b[{colour}m{word}\x1b[0m"


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows: an aligned table on a terminal, tab-separated lines anywhere else."""
    cells = [[safe("" if cell is None else cell) for cell in row] for row in rows]
    if not on_terminal():
        write("".join("\t".join(row) + "\n" for row in cells))
        return
    if not cells:
        return
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    write(_aligned([heading.upper() for heading in headings], widths) + "\n")
    for row in cells:
        write(_aligned(row, widths) + "\n")


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    padded = [coloured(cell) + " " * (width - len(cell)) for cell, width in zip(row, widths, strict=True)]
    return GAP.join(padded).rstrip()


def _to_stderr(text: str) -> None:
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except OSError:
        pass  # nobody is left to tell


def _jsonable(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    raise TypeError(f"{type(value).__name__} is not JSON")
