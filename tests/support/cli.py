"""Run novactl: in this process on either road, or as a program of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

from novactl.main import main

TOOK_S = 30.0


@dataclass(frozen=True)
class Outcome:
    """What a run said and how it ended."""

    code: int
    out: str
    err: str


def clean_environment(**more: str) -> dict[str, str]:
    """Return the environment without anything that says where a daemon is."""
    ours = ("NOVA_", "TMUX", "XDG_", "RUNTIME_DIRECTORY", "CLAUDE_CONFIG_DIR", "DRAGONFLY_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "HOME": "/nonexistent", **more}


def run_here(capfd: pytest.CaptureFixture[str], argv: Sequence[str], *, light: bool = True) -> Outcome:
    """Run `novactl argv` in this process."""
    capfd.readouterr()
    code = main(list(argv), light=light)
    said = capfd.readouterr()
    return Outcome(code, said.out, said.err)


def run_program(
    argv: Sequence[str | bytes],
    *,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    timeout_s: float = TOOK_S,
) -> subprocess.CompletedProcess[bytes]:
    """Run `novactl argv` as a program; its output is bytes."""
    return subprocess.run(
        [sys.executable, "-m", "novactl.main", *argv],
        env=clean_environment() if env is None else dict(env),
        input=stdin,
        capture_output=True,
        timeout=timeout_s,
        check=False,
    )
