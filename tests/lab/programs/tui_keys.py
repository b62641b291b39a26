"""Turn terminal bytes into pastes, typed text and keys. No I/O."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, field

PASTE_BEGIN, PASTE_END = b"\x1b[200~", b"\x1b[201~"
CONTROL = {
    0x0D: "enter",
    0x0A: "newline",
    0x7F: "backspace",
    0x08: "backspace",
    0x04: "ctrl-d",
    0x15: "ctrl-u",
}
SEQUENCES = {b"\x1b[1~": "home", b"\x1b[4~": "end", b"\x1b[3~": "delete"}


@dataclass(frozen=True, slots=True)
class Paste:
    """Text between paste brackets, with LF line ends."""

    text: str


@dataclass(frozen=True, slots=True)
class Typed:
    """Printable text typed by hand."""

    text: str


@dataclass(frozen=True, slots=True)
class Key:
    """A named key; keys this program does not know are named `other`."""

    name: str


Event = Paste | Typed | Key


@dataclass(slots=True)
class Decoder:
    """Feed it what was read; it keeps back what is incomplete."""

    _rest: bytearray = field(default_factory=bytearray)
    _paste: bytearray | None = None
    _utf8: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )

    @property
    def waiting(self) -> bool:
        """Whether an escape was read that may be a key of its own or the beginning of a sequence."""
        return self._paste is None and self._rest[:1] == b"\x1b"

    def feed(self, data: bytes) -> list[Event]:
        self._rest += data
        return list(self._events())

    def flush(self) -> list[Event]:
        """Nothing followed an escape: it was the key."""
        if not self.waiting:
            return []
        del self._rest[:1]
        return [Key("escape"), *self._events()]

    def _events(self) -> Iterator[Event]:
        while self._rest:
            if self._paste is not None:
                if (paste := self._pasted()) is None:
                    return
                yield paste
            elif self._rest[0] == 0x1B:
                length = _sequence_length(self._rest)
                if length == 0:
                    return
                if bytes(self._rest[:length]) == PASTE_BEGIN:
                    self._paste = bytearray()
                else:
                    yield Key(SEQUENCES.get(bytes(self._rest[:length]), "other"))
                del self._rest[:length]
            elif self._rest[0] < 0x20 or self._rest[0] == 0x7F:
                yield Key(CONTROL.get(self._rest[0], "other"))
                del self._rest[:1]
            else:
                yield Typed(self._typed())

    def _pasted(self) -> Paste | None:
        """Take the paste so far, whole once its end is there; a few bytes stay back for a cut end mark."""
        assert self._paste is not None
        end = self._rest.find(PASTE_END)
        take = end if end >= 0 else max(0, len(self._rest) - len(PASTE_END) + 1)
        self._paste += self._rest[:take]
        del self._rest[:take]
        if end < 0:
            return None
        del self._rest[: len(PASTE_END)]
        text, self._paste = self._paste.decode("utf-8", "replace"), None
        return Paste(text.replace("\r\n", "\n").replace("\r", "\n"))

    def _typed(self) -> str:
        length = next(
            (i for i, byte in enumerate(self._rest) if byte < 0x20 or byte == 0x7F), len(self._rest)
        )
        text = self._utf8.decode(bytes(self._rest[:length]))
        del self._rest[:length]
        return text


def _sequence_length(data: bytearray) -> int:
    """The length of the escape sequence `data` begins with, 0 while it is incomplete."""
    if len(data) < 2:
        return 0
    if data[1] not in b"[O":
        return 1  # an escape, then something of its own
    return next((i + 1 for i, byte in enumerate(data[2:20], start=2) if 0x40 <= byte <= 0x7E), 0)
