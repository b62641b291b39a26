"""Decide what a terminal AI agent does with its input: composer, queue, turns, dialogs. No I/O."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from typing import Literal

from tests.lab.programs.tui_keys import Event, Key, Paste, Typed

PASTE_WINDOW_S = 0.1  # Claude joins an Enter this close to a paste to the paste
DIALOG_QUIET_S = 1.5  # Claude draws no dialog before a draft was left alone this long
LONG_PASTE_NEWLINES, LONG_PASTE_CHARACTERS = 2, 800
TAB = "    "
PLACEHOLDER = re.compile(r"\[Pasted text #\d+(?: \+\d+ lines)?\]")

What = Literal["start", "prompt", "approved", "rejected", "permission", "stop", "quit"]


@dataclass(frozen=True, slots=True)
class Happened:
    """Something to log, to tell a hook, or to end on."""

    what: What
    text: str = ""


@dataclass(slots=True, kw_only=True)
class Agent:
    """The whole state of the agent; `now` is always a monotonic time in seconds."""

    busy_s: float = 0.0
    """How long a turn takes; infinite: until `answered`."""
    draft: str = ""
    behind: int = 0
    """How many characters of the draft stand behind the cursor."""
    queue: list[str] = field(default_factory=list)
    transcript: list[str] = field(default_factory=list)
    prompt: str | None = None
    dialog_wanted: bool = False
    dialog_open: bool = False
    _coming: str = ""
    """A first prompt that is taken at `_busy_until`, and empties the box then."""
    _uses_tool: bool = False
    _busy_until: float = 0.0
    _input_at: float = float("-inf")
    _paste_at: float = float("-inf")
    _pastes: dict[str, str] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def busy(self) -> bool:
        """Whether a turn is under way that waits for nobody."""
        return self.prompt is not None and not self.dialog_open

    def deadline(self) -> float | None:
        """When `tick` has something to do next."""
        if self._coming:
            return self._busy_until
        if self.prompt is None or self.dialog_open:
            return None
        return self._input_at + DIALOG_QUIET_S if self.dialog_wanted else self._busy_until

    def begin(self, prompt: str, now: float, late_s: float = 0.0) -> list[Happened]:
        """Take up the prompt of the command line, if there is one; `late_s` after the box stands."""
        if late_s:
            self._coming, self._busy_until = prompt, now + late_s
            return []
        if prompt:
            self.queue.append(prompt)
        return self._take_up(now)

    def answered(self, *, uses_tool: bool, now: float) -> None:
        """Take the model's answer to the turn under way."""
        self._busy_until, self._uses_tool = now, uses_tool

    def handle(self, event: Event, now: float) -> list[Happened]:
        """Take one input event."""
        if self.dialog_open:
            return self._answer_dialog(event, now)
        match event:
            case Paste(text):
                self._insert(self._shown(text.replace("\t", TAB)), now)
                self._paste_at = now
            case Typed(text):
                self._insert(text, now)
            case Key("newline"):
                self._insert("\n", now)
            case Key("enter") if now - self._paste_at < PASTE_WINDOW_S:
                self._join_newline(now)
            case Key("enter"):
                return self._submit(now)
            case Key("backspace"):
                self._erase(now)
            case Key("delete"):
                self._delete(now)
            case Key("home" | "end"):
                self.behind = len(self.draft) if event == Key("home") else 0
            case Key("ctrl-u"):
                self.draft, self._input_at = "", now
            case Key("ctrl-d") if not self.draft:
                return [Happened("quit", "ctrl-d")]
        return []

    def tick(self, now: float) -> list[Happened]:
        """Do what is due: take the first prompt, end a turn, ask for permission, open the dialog."""
        if self._coming and now >= self._busy_until:
            prompt, self._coming, self.draft = self._coming, "", ""
            return self.begin(prompt, now)
        if self.prompt is None or self.dialog_open or now < self._busy_until:
            return []
        if not self.dialog_wanted:
            if not self._uses_tool:
                return self._end_turn("● Done.", now)
            self.dialog_wanted = True
            return [Happened("permission", self.prompt), *self.tick(now)]
        if now - self._input_at >= DIALOG_QUIET_S:
            self.dialog_open = True
        return []

    def _answer_dialog(self, event: Event, now: float) -> list[Happened]:
        """Only Enter, Escape and the options' digits mean something; a paste is swallowed, as Claude does."""
        assert self.prompt is not None
        if event in (Typed("1"), Typed("2")):
            event = Key("enter") if event == Typed("1") else Key("escape")
        if event not in (Key("enter"), Key("escape")):
            return []
        prompt, self.dialog_open, self.dialog_wanted = self.prompt, False, False
        if event == Key("enter"):
            return [Happened("approved", prompt), *self._end_turn("● Bash(touch toolran)", now)]
        ended = self._end_turn("● The tool was rejected.", now)
        return [Happened("rejected", prompt), *(h for h in ended if h.what != "stop")]

    def _submit(self, now: float) -> list[Happened]:
        text = PLACEHOLDER.sub(lambda m: self._pastes.get(m[0], m[0]), self.draft).rstrip()
        if not text:
            return []
        self.draft, self._input_at = "", float("-inf")  # a submit ends the quiet time, as Claude's does
        self._pastes.clear()
        if text == "/exit":
            return [Happened("quit", "/exit")]
        self.queue.append(text)
        return [] if self.prompt is not None else self._take_up(now)

    def _take_up(self, now: float) -> list[Happened]:
        if not self.queue:
            return []
        self.prompt = self.queue.pop(0)
        self._busy_until = now + self.busy_s
        self._uses_tool = "USETOOL" in self.prompt
        self.transcript.append(f"❯ {self.prompt}")
        return [Happened("prompt", self.prompt)]

    def _end_turn(self, said: str, now: float) -> list[Happened]:
        self.prompt = None
        self.transcript.append(said)
        return [Happened("stop"), *self._take_up(now)]

    def _insert(self, text: str, now: float) -> None:
        before, after = self._around_cursor()
        self.draft = before + text + after
        self._input_at = now

    def _around_cursor(self) -> tuple[str, str]:
        self.behind = min(self.behind, len(self.draft))
        at = len(self.draft) - self.behind
        return self.draft[:at], self.draft[at:]

    def _shown(self, text: str) -> str:
        """Long pastes are shown as a placeholder and expanded when submitted."""
        newlines = text.count("\n")
        if newlines <= LONG_PASTE_NEWLINES and len(text) <= LONG_PASTE_CHARACTERS:
            return text
        lines = f" +{newlines} lines" if newlines else ""
        placeholder = f"[Pasted text #{next(self._numbers)}{lines}]"
        self._pastes[placeholder] = text
        return placeholder

    def _join_newline(self, now: float) -> None:
        last = next(reversed(self._pastes), None)
        if last is not None and self.draft.endswith(last):
            self._pastes[last] += "\n"
            self._input_at = now
        else:
            self._insert("\n", now)
        self._paste_at = now

    def _erase(self, now: float) -> None:
        """Take away what stands before the cursor; a placeholder goes as a whole."""
        self._input_at = now
        before, after = self._around_cursor()
        last = next((p for p in self._pastes if before.endswith(p)), before[-1:])
        self.draft = before.removesuffix(last) + after

    def _delete(self, now: float) -> None:
        """Take away what stands behind the cursor."""
        self._input_at = now
        before, after = self._around_cursor()
        next_one = next((p for p in self._pastes if after.startswith(p)), after[:1])
        self.draft, self.behind = before + after.removeprefix(next_one), len(after) - len(next_one)
