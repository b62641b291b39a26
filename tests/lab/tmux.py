"""Run panes in a private tmux server that leaves nothing behind."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from noval_d.canary import processes

COMMAND_LIMIT_S = 10.0
KILL_SERVER_LIMIT_S = 2.0  # a stopped server does not answer; its processes are then ended by pid
LOOK_EVERY_S, LOOK_LESS, LOOK_SELDOM_S = 0.02, 1.2, 0.1  # at first, and after half a second
PROGRAMS = Path(__file__).parent / "programs"


class LabTimeout(AssertionError):
    """What a test waited for did not show in time; the text holds the screen."""


@dataclass(frozen=True, slots=True)
class PrivateTmux:
    """A tmux server with its own socket, HOME and environment; use it in a `with`, or call `stop`.

    The socket lies in a short temporary folder: a Unix socket's path must fit in 107 bytes.
    """

    root: Path
    environment: Mapping[str, str] = field(repr=False)

    @classmethod
    def create(cls, *, env: Mapping[str, str] | None = None) -> Self:
        """Make the folders; the server itself starts with the first pane.

        `env` adds to an otherwise clean environment; its PATH goes in front of the lab's.
        """
        root = Path(tempfile.mkdtemp(prefix="nova-lab-", dir="/tmp" if Path("/tmp").is_dir() else None))
        (root / "home").mkdir()
        extra = dict(env or {})
        path = ":".join(filter(None, [extra.pop("PATH", ""), "/usr/local/bin:/usr/bin:/bin"]))
        base = {"HOME": str(root / "home"), "PATH": path, "LANG": "C.UTF-8", "COLORTERM": "truecolor"}
        base |= {"SHELL": "/bin/sh", "PS1": "$ ", "TERM": "tmux-256color"}
        return cls(root, base | extra)

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def socket_path(self) -> Path:
        return self.root / "s"

    def open(
        self, command: str, *, directory: Path | None = None, columns: int = 200, lines: int = 50
    ) -> str:
        """Run a shell command line in a pane of a new session; gives its pane id (`%3`)."""
        size = ["-x", str(columns), "-y", str(lines), "-c", str(directory or self.home)]
        setup = ["set-option", "-g", "default-terminal", "tmux-256color", ";"]
        new = ["new-session", "-d", "-P", "-F", "#{pane_id}", *size, f"exec {command}"]
        return self.tmux("start-server", ";", *setup, *new).strip()

    def open_program(
        self, name: str, arguments: Sequence[str] = (), *, columns: int = 200, lines: int = 50
    ) -> str:
        """Run one of `tests/lab/programs` in a pane of a new session."""
        command = shlex.join([sys.executable, str(PROGRAMS / name), *arguments])
        return self.open(command, columns=columns, lines=lines)

    def tmux(self, *arguments: str, stdin: str | None = None) -> str:
        """Run a tmux command line on this server, give its output; a failure raises with tmux's words."""
        done = subprocess.run(
            ["tmux", "-S", str(self.socket_path), "-f", "/dev/null", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            encoding="utf-8",
            env=dict(self.environment),
            timeout=COMMAND_LIMIT_S,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"tmux {shlex.join(arguments)[:200]}: {done.stderr.strip()}")
        return done.stdout

    def paste(self, pane: str, text: str) -> None:
        """Paste text as tmux does it for a person, in brackets where the program asked for them."""
        put = ["paste-buffer", "-p", "-r", "-d", "-b", "lab", "-t", pane]
        self.tmux("load-buffer", "-b", "lab", "-", ";", *put, stdin=text)

    def press(self, pane: str, *keys: str) -> None:
        """Press keys by tmux's names for them, for example `Enter`."""
        self.tmux("send-keys", "-t", pane, *keys)

    def capture(self, pane: str, *, escapes: bool = False) -> str:
        """The visible screen, with colours and attributes if asked for."""
        return self.tmux("capture-pane", "-p", *(["-e", "-N"] if escapes else []), "-t", pane)

    def value(self, pane: str, name: str) -> str:
        """The value of one tmux format of the pane, for example `pane_title`."""
        return self.tmux("display-message", "-p", "-t", pane, f"#{{{name}}}").rstrip("\n")

    def wait_for(self, pane: str, wanted: str | Callable[[str], bool], timeout_s: float = 45.0) -> str:
        """Wait until the screen holds a text or satisfies a predicate; gives that screen."""
        until, pause_s = time.monotonic() + timeout_s, LOOK_EVERY_S
        while True:
            screen = self.capture(pane)
            if wanted in screen if isinstance(wanted, str) else wanted(screen):
                return screen
            if time.monotonic() > until:
                raise LabTimeout(
                    f"not seen within {timeout_s} s: {wanted!r}; the screen was\n{screen.rstrip()}"
                )
            time.sleep(pause_s)
            pause_s = min(pause_s * LOOK_LESS, LOOK_SELDOM_S)

    def stop(self) -> None:
        """End the server and everything that lives in its HOME, then remove its folder."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                ["tmux", "-S", str(self.socket_path), "kill-server"],
                capture_output=True,
                timeout=KILL_SERVER_LIMIT_S,
                check=False,
            )
        processes.end_all(self.home)
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
