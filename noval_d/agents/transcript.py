"""Follow the transcript that an agent writes: what it was handed within a turn fires no prompt hook.

The hooks name the file; the driver says which of its JSON lines hold a prompt that the model got, and which
one that the agent took into its queue. Only what is appended after the first look counts.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from typing import Any

from nova_torch.reading import json_value

READ_BYTES = 8 << 20  # at once; a longer rest is read with the next look


class Transcript:
    """One agent's transcript, read from where it ended when it was first named."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._position: int | None = None

    def __repr__(self) -> str:
        return f"<Transcript {self.path} at {self._position}>"

    def size(self) -> int | None:
        """Return how many bytes it has, None when it is not there."""
        try:
            return os.stat(self.path).st_size
        except (OSError, ValueError):
            return None

    def new_texts(self, *kinds: tuple[Sequence[str], str]) -> list[tuple[int, str]]:
        """Return the texts in lines that were added since the last look, each with the number of its kind.

        A kind is conditions such as `attachment.type=queued_command`, and the place of the text. A file that is
        gone, not a regular one or not this user's has none.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError):
            return []
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
                return []
            if self._position is None or found.st_size < self._position:
                self._position = found.st_size
                return []
            raw = os.pread(descriptor, READ_BYTES, self._position)
        finally:
            os.close(descriptor)
        # a line is read when it is whole; one that is longer than all that is read at once is passed over
        end = raw.rfind(b"\n") + 1 or (len(raw) if len(raw) == READ_BYTES else 0)
        self._position += end
        found_texts = (_text(line, kinds) for line in raw[:end].splitlines())
        return [text for text in found_texts if text is not None]


def _text(line: bytes, kinds: Sequence[tuple[Sequence[str], str]]) -> tuple[int, str] | None:
    try:
        entry = json_value(line)
    except ValueError:
        return None
    texts = ((number, _text_at(entry, where, place)) for number, (where, place) in enumerate(kinds))
    return next(((number, text) for number, text in texts if text), None)


def _text_at(entry: Any, where: Sequence[str], place: str) -> str:
    if not all(_at(entry, path) == wanted for path, _, wanted in (rule.partition("=") for rule in where)):
        return ""
    text = _at(entry, place)
    return text if isinstance(text, str) else ""


def _at(entry: Any, path: str) -> Any:
    for name in path.split("."):
        entry = entry.get(name) if isinstance(entry, Mapping) else None
    return entry
