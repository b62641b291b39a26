"""Read what a control-mode client of tmux prints: the answers to our lines, and notifications. No I/O.

Every request is one line and, as a line of its own, `display-message -p TOKEN<number>`; the token says where
the answer ends. Each command of the line gives a block:

    %begin 1700000000 271 1        time, number, flags; flags 1: a command of ours, 0: one of a hook
    text of the command, raw: it may look like anything, even like a guard
    %end 1700000000 271 1          or %error; the same time, number, flags

tmux 3.3a writes some things outside of any block, after an `%end`: the error of `load-buffer` for a missing
file (the rest of the line goes on), and what a user's hook runs with run-shell. Such lines are the answer's
`strays`: good for a log, no proof of a failure.
"""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_LINE_BYTES = 8 << 20
MAX_STRAYS = 100


class Overlong(ValueError):
    """A line is longer than MAX_LINE_BYTES: what follows cannot be trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What one command of a line printed; not `ok` when it failed."""

    ok: bool
    lines: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Everything that tmux printed for one control line."""

    blocks: tuple[Block, ...] = ()
    strays: tuple[bytes, ...] = ()
    ambiguous: bool = False  # a screen showed a guard line of this very answer: where a block ends is unknown

    @property
    def lines(self) -> tuple[bytes, ...]:
        """The lines of all blocks that are ok."""
        return tuple(line for block in self.blocks if block.ok for line in block.lines)

    @property
    def error(self) -> str | None:
        """The first error in tmux's words, None when there was none. `load-buffer` has none: see `strays`."""
        for block in self.blocks:
            if not block.ok:
                return b" ".join(block.lines).decode(errors="replace") or "failed"
        return "the answer cannot be told from what a pane shows" if self.ambiguous else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The answer to the request of this number is complete."""

    number: int
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """Something that happened on the server; `name` with its percent sign, as in `%exit`."""

    name: str
    rest: bytes


@dataclass(slots=True)
class AnswerParser:
    """Turns the bytes of the client into answers and notifications. `token` starts every end of an answer."""

    token: bytes
    _partial: list[bytes] = field(default_factory=list)
    _partial_bytes: int = 0
    _guard: bytes | None = None  # of the open block
    _lines: list[bytes] = field(default_factory=list)
    _blocks: list[Block] = field(default_factory=list)
    _strays: list[bytes] = field(default_factory=list)
    _ended: set[bytes] = field(default_factory=set)
    _ambiguous: bool = False
    _after_token: bool = False

    def forget_strays(self) -> None:
        """Drop errors that came while nobody waited; called before a request when none is under way."""
        self._strays.clear()

    def feed(self, data: bytes) -> list[Finished | Notification]:
        """Take the next bytes, in pieces of any size; return what they completed. Raises Overlong."""
        *whole, rest = data.split(b"\n")
        events: list[Finished | Notification] = []
        if whole and self._partial:
            self._partial.append(whole[0])
            whole[0] = b"".join(self._partial)
            self._partial.clear()
            self._partial_bytes = 0
        for line in whole:
            event = self._line(line)
            if event is not None:
                events.append(event)
        if rest:
            self._partial.append(rest)
            self._partial_bytes += len(rest)
            if self._partial_bytes > MAX_LINE_BYTES:
                raise Overlong(f"a line of more than {MAX_LINE_BYTES} bytes")
        return events

    def _line(self, line: bytes) -> Finished | Notification | None:
        if line.startswith(self.token) and line[len(self.token) :].isdigit():
            return self._finish(int(line[len(self.token) :]))
        if self._after_token:  # the token's own block holds one line: what follows can only be its guard
            self._after_token = False
            return None
        if self._guard is None:
            return self._outside(line)
        self._inside(self._guard, line)
        return None

    def _inside(self, guard: bytes, line: bytes) -> None:
        kind, _, suffix = line.partition(b" ")
        if kind in {b"%end", b"%error"}:
            if suffix == guard:
                if guard.endswith(b" 1"):
                    self._blocks.append(Block(ok=kind == b"%end", lines=tuple(self._lines)))
                self._ended.add(guard)
                self._guard = None
                self._lines.clear()
                return
            self._ambiguous = self._ambiguous or suffix in self._ended
        self._lines.append(line)

    def _outside(self, line: bytes) -> Notification | None:
        kind, _, rest = line.partition(b" ")
        if kind == b"%begin":
            self._guard = rest
        elif kind in {b"%end", b"%error"}:
            self._ambiguous = True
        elif kind.startswith(b"%"):
            return Notification(name=kind.decode(errors="replace"), rest=rest)
        elif len(self._strays) < MAX_STRAYS:
            self._strays.append(line)
        return None

    def _finish(self, number: int) -> Finished:
        alone = self._guard is not None and not self._lines
        answer = Answer(
            blocks=tuple(self._blocks),
            strays=tuple(self._strays),
            ambiguous=self._ambiguous or not alone,
        )
        self._after_token = True
        self._guard = None
        self._ambiguous = False
        for kept in (self._lines, self._blocks, self._strays, self._ended):
            kept.clear()
        return Finished(number=number, answer=answer)
