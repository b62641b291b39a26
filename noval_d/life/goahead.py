"""Give windows of spawned agents their go-ahead: a private file for the moment of the start."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from nova_torch.errors import StoreFailed
from noval_d.life import launch
from noval_d.life.ending import runs
from noval_d.tmux.server import SERVICE_ONLY

TOKEN_BYTES = 8


def new_token() -> str:
    """Return a name for one start."""
    return secrets.token_hex(TOKEN_BYTES)


class GoAhead:
    """The directory of go-aheads (0700). What is in it lives for milliseconds; a crash's rest is swept."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def sweep(self) -> None:
        """Make the directory, and take away what a daemon that has died left in it. Raises StoreFailed."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for file in self._directory.iterdir():
                file.unlink(missing_ok=True)
        except OSError as error:
            raise StoreFailed(
                f"{self._directory} cannot be used: {error.strerror}.", "Make it yours."
            ) from None

    def argv(self, token: str) -> list[str]:
        """Return the program of a window that waits for this go-ahead."""
        return [sys.executable, "-I", "-S", launch.__file__, str(self._file(token))]

    def give(self, token: str, *, argv: Sequence[str], cwd: str, env: Mapping[str, str]) -> None:
        """Let the window of this token become `argv`. Raises StoreFailed."""
        file = self._file(token)
        given = {"argv": list(argv), "cwd": cwd, "env": dict(env), "drop": SERVICE_ONLY}
        made = file.with_suffix(".new")
        try:
            descriptor = os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w", encoding="utf-8") as sink:
                json.dump(given, sink)
            made.rename(file)
        except OSError as error:
            made.unlink(missing_ok=True)
            raise StoreFailed(
                f"the go-ahead {file} cannot be written: {error.strerror}.", "Make room there."
            ) from None

    def withdraw(self, token: str) -> None:
        """Take a go-ahead back that no window has taken."""
        self._file(token).unlink(missing_ok=True)

    def waits(self, token: str, pid: int) -> bool:
        """Tell whether process `pid` still is the program that waits for, or takes, this go-ahead."""
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        # in the middle of its exec a process has no words for a moment
        return (not any(words) and runs(pid)) or os.fsencode(str(self._file(token))) in words

    def _file(self, token: str) -> Path:
        return self._directory / f"{token}.json"
