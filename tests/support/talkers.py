"""Agents that ask and answer through the real novactl, for a test's node."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.agents import Tui, tui
from tests.support.node import ROOT, TestNode, until


def talker(node: TestNode, folder: Path, name: str, *, answer: str = "", answer_all: str = "") -> Tui:
    """Open an agent that answers what it is asked with `answer`, and anything at all with `answer_all`."""
    call = ["env", f"NOVA_SOCKET={node.socket}", f"NOVA_STATE_DIR={node.state}", f"PYTHONPATH={ROOT}"]
    words = ["--novactl", shlex.join([*call, sys.executable, "-m", "novactl.main"])]
    words += ["--answer", answer] if answer else []
    words += ["--answer-all", answer_all] if answer_all else []
    return tui(node, folder, name, program="talking_tui.py", arguments=tuple(words))


def ran(agent: Tui, count: int = 1, timeout_s: float = 30.0) -> list[dict[str, Any]]:
    """Wait until the agent has run novactl `count` times; return what it said each time."""

    def rows() -> list[dict[str, Any]]:
        return [json.loads(text) for event, text in agent.events() if event == "ran"]

    until(lambda: len(rows()) >= count, timeout_s, f"{count} runs of novactl by {agent.name}")
    return rows()


@contextlib.contextmanager
def asking(node: TestNode, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Start `novactl ask …` as a person; end it, if it still runs, with the block."""
    command = [sys.executable, "-m", "novactl.main", "ask", *words]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=node.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
