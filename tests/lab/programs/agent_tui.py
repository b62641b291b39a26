"""A small program that looks and behaves like a terminal AI agent, for demos and for forcing faults.

Its prompts, approvals and rejections go to `--log` as JSON lines; `--hook` names a command that is told of
events as Claude tells its hooks. It ends on Ctrl-D in an empty composer, or on `/exit`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import select
import shutil
import signal
import sys
import termios
import time
import tty
from pathlib import Path
from types import FrameType

if __name__ == "__main__":  # started as a script: its neighbours are found from the repository's root
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from tests.lab.programs import tui_draw
from tests.lab.programs.tui_ask import Model
from tests.lab.programs.tui_hooks import TOOL, Hooks
from tests.lab.programs.tui_keys import Decoder
from tests.lab.programs.tui_model import Agent, Happened

READ_BYTES = 65536
ESCAPE_WAIT_S = 0.05  # an escape followed by nothing for so long is the key
FRAME_S = 0.4  # how often the busy title moves
LOGGED = ("start", "prompt", "approved", "rejected")


class Program:
    """The terminal around the agent: reads, ticks, draws, logs."""

    def __init__(
        self,
        *,
        name: str,
        busy_s: float,
        log: Path | None,
        hook: str,
        prompt: str = "",
        session: str = "",
        trust: bool = False,
        stall_s: float = 0.0,
        late_s: float = 0.0,
        model: Model | None = None,
    ) -> None:
        self._agent = Agent(busy_s=math.inf if model is not None else busy_s)
        self._model = model
        self._asked: list[str] = []
        self._name = name
        self._log = log
        self._hooks = Hooks(hook, session)
        self._prompt = prompt
        self._trust = trust
        self._stall_s = stall_s
        self._late_s = late_s
        self._decoder = Decoder()
        self._rows_above = 0
        self._printed = 0
        self._screen = ""
        self._title = ""
        self._resized = False

    def __repr__(self) -> str:
        return f"<Program {self._name} {self._agent!r}>"

    def run(self) -> None:
        """Run until the user ends it."""
        terminal = sys.stdin.fileno()
        before = termios.tcgetattr(terminal)
        signal.signal(signal.SIGWINCH, self._on_resize)
        tty.setraw(terminal)
        self._write(tui_draw.SETUP)
        reason = "other"
        try:
            if self._trust:
                self._ask_trust(terminal)
            self._report(Happened("start", self._name))
            for happened in self._agent.begin(self._prompt, time.monotonic(), self._late_s):
                self._report(happened)
            reason = self._loop(terminal)
        finally:
            self._write(f"{tui_draw.RESTORE}\r\n")
            termios.tcsetattr(terminal, termios.TCSANOW, before)
            self._hooks.tell("SessionEnd", reason=reason)
            self._hooks.close()

    def _ask_trust(self, terminal: int) -> None:
        """Ask what Claude asks in a folder that it does not know; go on at Enter or 1, end at anything else."""
        self._write("\x1b[2J\x1b[H" + "\r\n".join(tui_draw.TRUST))
        time.sleep(self._stall_s)
        if os.read(terminal, READ_BYTES) not in (b"\r", b"1"):
            raise SystemExit(1)
        if self._log is not None:
            with self._log.open("a", encoding="utf-8") as log:
                log.write(json.dumps({"t": time.time(), "event": "trusted", "text": ""}) + "\n")
        self._write("\x1b[2J\x1b[H")

    def _loop(self, terminal: int) -> str:
        while True:
            self._draw()
            happened = []
            heard: list[int | Model] = [terminal, *([self._model] if self._model is not None else [])]
            readable = select.select(heard, [], [], self._pause_s())[0]
            if self._model is not None and self._model in readable:
                self._agent.answered(uses_tool=self._model.answer(), now=time.monotonic())
            if terminal in readable:
                data = os.read(terminal, READ_BYTES)
                if not data:
                    return "other"
                events = self._decoder.feed(data)
            else:
                events = self._decoder.flush()
            for event in events:
                happened += self._agent.handle(event, time.monotonic())
            happened += self._agent.tick(time.monotonic())
            for one in happened:
                self._report(one)
                if one.what == "quit":
                    return "prompt_input_exit"

    def _pause_s(self) -> float | None:
        """How long nothing is due; None is for ever."""
        waits = [ESCAPE_WAIT_S] if self._decoder.waiting else []
        if (deadline := self._agent.deadline()) is not None:
            waits += [deadline - time.monotonic(), FRAME_S]
        return max(0.0, min(waits)) if waits else None

    def _report(self, happened: Happened) -> None:
        if self._log is not None and happened.what in LOGGED:
            line: dict[str, object] = {"t": time.time(), "event": happened.what, "text": happened.text}
            if happened.what == "start":
                line |= {"argv": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ)}
            with self._log.open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
        match happened.what:
            case "start":
                self._hooks.tell("SessionStart", source="startup", model="stub")
            case "prompt":
                self._asked.append(happened.text)
                if self._model is not None:
                    self._model.ask(self._asked)
                self._hooks.tell("UserPromptSubmit", prompt=happened.text)
            case "permission":
                self._hooks.tell("PermissionRequest", **TOOL)
            case "stop":
                self._hooks.tell("Stop", stop_hook_active=False)

    def _draw(self) -> None:
        columns, lines = shutil.get_terminal_size()
        if self._resized:
            self._resized, self._screen, self._rows_above = False, "", 0
            self._printed = max(0, self._printed - lines)
            self._write("\x1b[2J\x1b[H")
        above = tui_draw.transcript(self._agent.transcript[self._printed :], columns)
        rows = tui_draw.live(self._agent, columns, lines)
        title = tui_draw.title(self._agent, self._name, int(time.monotonic() / FRAME_S))
        screen = "\n".join(rows)
        if above or screen != self._screen:
            cursor = tui_draw.cursor(self._agent, rows, columns)
            self._write(tui_draw.repaint(self._rows_above, above, rows, cursor))
            self._rows_above = cursor[0]
        if title != self._title:
            self._write(title)
        self._screen, self._title = screen, title
        self._printed = len(self._agent.transcript)

    def _on_resize(self, _signal: int, _frame: FrameType | None) -> None:
        self._resized = True

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--name", default="Agent", help="shown in the window title")
    parser.add_argument("--busy", type=float, default=0.0, metavar="S", help="seconds a prompt takes")
    parser.add_argument("--model", action="store_true", help="a turn ends when $ANTHROPIC_BASE_URL answers")
    parser.add_argument("--log", type=Path, help="append JSON lines to this file")
    parser.add_argument("--hook", default="", metavar="CMD", help="run `CMD EVENT` with JSON on its input")
    parser.add_argument("--resume", default="", metavar="ID", help="go on with this conversation")
    parser.add_argument("--trust", action="store_true", help="ask for trust in the folder first")
    parser.add_argument("--stall", type=float, default=0.0, help="seconds until it reads the answer to that")
    parser.add_argument("--late", type=float, default=0.0, help="seconds from its box to its first prompt")
    parser.add_argument(
        "--crash-if", type=Path, metavar="FILE", help="end with exit code 3 while FILE exists"
    )
    parser.add_argument("prompt", nargs="?", default="", help="a first prompt")
    options = parser.parse_args()
    if options.crash_if is not None and options.crash_if.exists():
        raise SystemExit(3)
    Program(
        name=options.name,
        busy_s=options.busy,
        log=options.log,
        hook=options.hook,
        prompt=options.prompt,
        session=options.resume,
        trust=options.trust,
        stall_s=options.stall,
        late_s=options.late,
        model=Model(os.environ["ANTHROPIC_BASE_URL"]) if options.model else None,
    ).run()


if __name__ == "__main__":
    main()
