"""Agents for a test's node: a program that logs raw bytes, and one that behaves like Claude Code."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nova_torch.clean import clean
from tests.lab.rows import rows_of
from tests.lab.tmux import PROGRAMS
from tests.support.node import ROOT, TestNode, until

READY = "? for shortcuts"
LOGGED_S = 5.0


@dataclass(slots=True)
class Raw:
    """A pane whose program logs every byte it gets."""

    node: TestNode
    name: str
    pane: str
    log: Path

    def bytes(self) -> bytes:
        """Return all that it has read: what it has read and not logged yet is waited for."""
        if not self.log.exists():
            return b""
        with self.log.open("rb") as file:
            end = time.monotonic() + LOGGED_S
            while time.monotonic() < end:  # it may be stopped or killed under its lock
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    break
                time.sleep(0.002)
            return file.read()


def raw(node: TestNode, folder: Path, name: str = "raw", *arguments: str) -> Raw:
    """Open a raw-logging program in a pane of its own and register it."""
    log = folder / f"{name}.bytes"
    pane = node.tmux.open_program("rawlog.py", [str(log), *arguments])
    node.tmux.wait_for(pane, "READY")
    node.register(name, pane)
    return Raw(node, name, pane, log)


@dataclass(slots=True)
class Tui:
    """A pane with a program that draws, queues and asks like Claude Code."""

    node: TestNode
    name: str
    pane: str
    log: Path
    command: str

    def events(self) -> list[tuple[str, str]]:
        """Return what happened in it: prompt, approved, rejected, with the text."""
        return [(row["event"], row["text"]) for row in rows_of(self.log) if row["event"] != "start"]

    def prompts(self) -> list[str]:
        return [text for event, text in self.events() if event == "prompt"]

    def approved(self) -> int:
        return sum(event == "approved" for event, _ in self.events())

    def wait_prompts(self, count: int, timeout_s: float = 45.0) -> list[str]:
        until(lambda: len(self.prompts()) >= count, timeout_s, f"{count} prompts, {self.screen()}")
        return self.prompts()

    def wait_for(self, text: str, timeout_s: float = 45.0) -> str:
        return self.node.tmux.wait_for(self.pane, text, timeout_s)

    def screen(self) -> str:
        return self.node.tmux.capture(self.pane)

    def press(self, *keys: str) -> None:
        self.node.tmux.press(self.pane, *keys)

    def draft(self, text: str) -> None:
        """Type like a person."""
        self.node.tmux.press(self.pane, "-l", text)

    def ask_permission(self) -> None:
        """Have a dialog open: a prompt of a person's own that uses a tool."""
        self.draft("USETOOL please")
        self.wait_for("USETOOL please")
        self.press("Enter")
        self.wait_for("Esc to cancel")

    def launch(self) -> None:
        """Start the program again in the pane's shell, whatever modes its terminal was left in."""
        before = self.starts()
        self.draft(self.command)
        self.press("C-j")
        until(lambda: self.starts() > before, 20, f"the program's start, {self.screen()}")
        self.wait_for(READY)

    def starts(self) -> int:
        return sum(row["event"] == "start" for row in rows_of(self.log))

    def state(self) -> str:
        (record,) = (a for a in self.node.call("agents") if a["agent_id"] == self.name)
        return str(record["state"])

    def wait_state(self, *states: str, timeout_s: float = 45.0) -> None:
        until(lambda: self.state() in states, timeout_s, f"agent state {states}")


def tui(
    node: TestNode,
    folder: Path,
    name: str = "claude-1",
    *,
    busy_s: float = 0.0,
    hooks: bool = False,
    shell: bool = False,
    program: str = "agent_tui.py",
    arguments: tuple[str, ...] = (),
) -> Tui:
    """Open the Claude-like program in a pane and register it with the driver `claude`; wait until it is ready.

    With `hooks` it reports to the node as Claude does; with `shell` it is started from a shell, which is left
    when it ends.
    """
    log = folder / f"{name}.jsonl"
    words = [_claude(node), str(PROGRAMS / program), "--log", str(log), "--name", name, "--busy", str(busy_s)]
    if hooks:
        hook = ["env", f"NOVA_SOCKET={node.socket}", f"NOVA_STATE_DIR={node.state}", f"PYTHONPATH={ROOT}"]
        words += ["--hook", shlex.join([*hook, sys.executable, "-m", "tests.support.patient_hook"])]
    command = shlex.join([*words, *arguments])
    pane = node.tmux.open("sh" if shell else command, columns=250 if shell else 200)
    made = Tui(node, name, pane, log, command)
    if shell:
        script = folder / f"{name}.sh"
        script.write_text(f"{command}\n")
        made.command = f". {script}"
        node.tmux.wait_for(pane, "$")
        made.launch()
    made.wait_for(READY)
    node.register(name, pane, "claude")
    made.wait_state("idle", "busy")
    return made


def _claude(node: TestNode) -> str:
    """Return a Python whose process is called `claude`: the driver knows the agent by that name."""
    link = node.state / "bin" / "claude"
    link.parent.mkdir(exist_ok=True)
    with contextlib.suppress(FileExistsError):  # of another agent of this node, which may be made just now
        link.symlink_to(os.path.realpath(sys.executable))
    return str(link)


def shown(body: str) -> str:
    """Return what the program reports as its prompt for `body`, as far as the driver adds nothing."""
    return clean(body).replace("\t", "    ").rstrip()


def held(node: TestNode, agent: str) -> dict[str, Any] | None:
    """Return the row of `status` that says what holds an agent's message."""
    rows = [row for row in node.call("status")["held"] if row["agent"] == agent]
    return dict(rows[0]) if rows else None


def tmux_pid(node: TestNode) -> int:
    return int(node.tmux.tmux("display-message", "-p", "#{pid}"))


def end_pane_program(node: TestNode, pane: str) -> None:
    """kill -9 the pane's program."""
    os.kill(int(node.tmux.value(pane, "pane_pid")), signal.SIGKILL)
