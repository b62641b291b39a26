"""Read what a format of ours printed: words, and texts that may hold anything. Pure.

Programs and people choose titles, names and options. A text stands behind its own length in bytes, so
nothing in it, not even a line feed or a copy of another pane's facts, can shift or forge a field. A text that
may change while the format is expanded (tmux asks the kernel for a command's name each time) is read once,
and ends with a byte that is taken out of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from nova_torch.errors import TmuxUnavailable

END = "\x1e"


class BadFacts(TmuxUnavailable):
    """What tmux printed is not of the form that was asked for."""

    def __init__(self) -> None:
        super().__init__("tmux describes a pane in a form that is not understood.")


def word(name: str) -> str:
    """Return the format of a field that holds neither spaces nor anything a program chose."""
    return f"#{{{name}}} "


def text(name: str) -> str:
    """Return the format of a field that may hold anything and stays the same while it is printed."""
    return f"#{{n:{name}}}:#{{{name}}} "


def changing(name: str) -> str:
    """Return the format of a field that may hold anything and may change any moment; LF becomes a space."""
    return f"#{{s/\n/ /;s/{END}/ /:{name}}}{END}"


@dataclass(slots=True)
class Reader:
    """Takes fields from the front of what was printed. Every method raises BadFacts."""

    data: bytes
    at: int = 0

    @property
    def done(self) -> bool:
        """True when nothing is left."""
        return self.at >= len(self.data)

    def literal(self, expected: bytes) -> None:
        """Take exactly these bytes."""
        if not self.data.startswith(expected, self.at):
            raise BadFacts
        self.at += len(expected)

    def word(self) -> str:
        """Take a field made by `word`."""
        end = self.data.find(b" ", self.at)
        if end < 0:
            raise BadFacts
        taken = self.data[self.at : end]
        self.at = end + 1
        return taken.decode(errors="replace")

    def number(self) -> int:
        """Take a field made by `word` as a number; one that is not set is 0."""
        taken = self.word()
        if taken and not (taken.isascii() and taken.isdigit()):
            raise BadFacts
        return int(taken or 0)

    def text(self) -> str:
        """Take a field made by `text`."""
        colon = self.data.find(b":", self.at)
        length = self.data[self.at : max(colon, self.at)]
        if not length.isdigit():
            raise BadFacts
        end = colon + 1 + int(length)
        taken = self.data[colon + 1 : end]
        self.at = end
        self.literal(b" ")
        return taken.decode(errors="replace")

    def changing(self) -> str:
        """Take a field made by `changing`."""
        end = self.data.find(END.encode(), self.at)
        if end < 0:
            raise BadFacts
        taken = self.data[self.at : end]
        self.at = end + 1
        return taken.decode(errors="replace")
