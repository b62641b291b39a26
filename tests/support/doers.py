"""Agents that do the tasks they are told of."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.lab.tmux import PROGRAMS
from tests.support.node import ROOT, TestNode


@dataclass(slots=True)
class Doer:
    """A pane whose program ends the tasks that it is told of, and writes a log of them."""

    node: TestNode
    name: str
    pane: str
    log: Path

    def lines(self, word: str) -> list[str]:
        """Return the tasks that it logged with `word`: told, done, or the code of a refusal."""
        rows = self.log.read_text().splitlines() if self.log.exists() else []
        return [row.split()[1] for row in rows if row.split()[0] == word]

    def kill(self) -> None:
        """kill -9 the program: its pane goes with it."""
        os.kill(
            int(self.node.tmux.tmux("display-message", "-p", "-t", self.pane, "#{pane_pid}")), signal.SIGKILL
        )


def doer(
    node: TestNode,
    folder: Path,
    name: str,
    *arguments: str,
    role: str = "worker",
    skills: tuple[str, ...] = (),
) -> Doer:
    """Open a doer in a pane of its own and register it."""
    log = folder / f"{name}.log"
    words = ["env", f"NOVA_SOCKET={node.socket}", f"PYTHONPATH={ROOT}", sys.executable]
    words += [str(PROGRAMS / "doer.py"), str(log), *arguments]
    pane = node.tmux.open(shlex.join(words))
    node.tmux.wait_for(pane, "READY")
    node.call(
        "register", {"agent_id": name, "pane": pane, "driver": "line", "role": role, "skills": list(skills)}
    )
    return Doer(node, name, pane, log)
