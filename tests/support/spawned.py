"""Agents that a test's node spawns: the lab's program, under the name `claude`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nova_torch.protocol.client import Client
from tests.lab.rows import rows_of
from tests.lab.tmux import PROGRAMS
from tests.support.agents import _claude
from tests.support.node import ROOT, TestNode, until


@dataclass(slots=True)
class Spawned:
    """What a spawned program wrote down, and how its node sees it."""

    node: TestNode
    name: str
    log: Path

    def rows(self, event: str) -> list[dict[str, Any]]:
        return [row for row in rows_of(self.log) if row["event"] == event]

    def prompts(self) -> list[str]:
        return [row["text"] for row in self.rows("prompt")]

    def starts(self) -> int:
        return len(self.rows("start"))

    def record(self) -> dict[str, Any]:
        (record,) = (a for a in self.node.call("agents") if a["agent_id"] == self.name)
        return dict(record)

    def wait_state(self, *states: str, timeout_s: float = 45.0) -> None:
        until(lambda: self.record()["state"] in states, timeout_s, f"agent state {states}")

    def wait_starts(self, count: int, timeout_s: float = 45.0) -> None:
        until(lambda: self.starts() >= count, timeout_s, f"{count} starts, {self.node.log()[-2000:]}")

    def pid(self) -> int:
        return int(self.node.tmux.value(self.record()["pane"], "pane_pid"))


def command(node: TestNode, log: Path, *arguments: str, hooks: bool = True) -> list[str]:
    """Return the words that start the lab's program."""
    words = [_claude(node), str(PROGRAMS / "agent_tui.py"), "--log", str(log)]
    if hooks:
        hook = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.support.patient_hook"]
        words += ["--hook", shlex.join(hook)]
    return [*words, *arguments]


def spawn(
    node: TestNode,
    folder: Path,
    name: str = "worker-1",
    *,
    arguments: Sequence[str] = (),
    hooks: bool = True,
    timeout_s: float = 30.0,
    **options: Any,
) -> Spawned:
    """Spawn the lab's program and follow it until it is ready. Raises NovaError."""
    log = folder / f"{name}.jsonl"
    args = {
        "role": "worker",
        "agent_id": name,
        "driver": "claude",
        "command": command(node, log, *arguments, hooks=hooks),
        "here": str(folder),
        **options,
    }
    with Client.connect(node.socket, 10.0) as client:
        for _ in client.stream("spawn", args, timeout_s):
            pass
    return Spawned(node, name, log)


QUICK = {
    "NOVA_LIFE_BACK_OFF_S": "0.2",
    "NOVA_LIFE_BACK_OFF_MOST_S": "0.4",
    "NOVA_LIFE_TRIES": "3",
    "NOVA_LIFE_QUIT_S": "3",
    "NOVA_LIFE_TERMINATE_S": "2",
}


def windows(made: TestNode) -> list[str]:
    """Names of the windows that are not the daemon's own."""
    rows = made.tmux.tmux("list-windows", "-a", "-F", "#{session_name}:#{window_name}").splitlines()
    return [row for row in rows if not row.startswith("_nova-")]


def health(made: TestNode) -> list[str]:
    return [finding["code"] for finding in made.call("status")["health"]]
