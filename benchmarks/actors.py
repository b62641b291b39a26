"""Real agents for benchmarks: each with a home, a folder and a model of its own, spawned by the node."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nova_torch.protocol.client import Client
from noval_d.canary.model.stub_model import StubModel
from noval_d.canary.processes import end_all, living_in
from tests.lab.agent_lab import AgentLab
from tests.lab.aider import AiderLab
from tests.lab.claude import ClaudeLab
from tests.lab.codex import CodexLab
from tests.lab.gemini import GeminiLab
from tests.lab.opencode import OpencodeLab
from tests.support.node import TestNode

LABS: tuple[type[AgentLab], ...] = (ClaudeLab, CodexLab, GeminiLab, OpencodeLab, AiderLab)
READY_S = 180.0
COMMAND_CHARS = 120


@dataclass(frozen=True, slots=True)
class Actor:
    """One agent that is not there yet."""

    name: str
    lab: type[AgentLab]
    stub: StubModel
    home: Path
    directory: Path

    def request(self, **more: Any) -> dict[str, Any]:
        """Return what is asked of the daemon's `spawn`."""
        return {
            "role": self.lab.kind.name,
            "agent_id": self.name,
            "command": [str(self.lab.installed().find()), *self.lab.arguments(self.stub)],
            "driver": self.lab.kind.name,
            "cwd": str(self.directory),
            "env": {**self.lab.environment(self.stub), "HOME": str(self.home)},
            **more,
        }

    def spawn(self, node: TestNode, **more: Any) -> None:
        """Have the daemon start it; return when it is ready."""
        with Client.connect(node.socket, 10.0) as client:
            for _ in client.stream("spawn", self.request(**more), READY_S):
                pass

    def processes(self) -> dict[int, str]:
        """Return what lives in its home."""
        found: dict[int, str] = {}
        for process in living_in(self.home):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{process.pid}/cmdline").read_bytes().replace(b"\0", b" ")
                found[process.pid] = words.decode(errors="replace")[:COMMAND_CHARS].strip()
        return found


@contextlib.contextmanager
def furnished(folder: Path, name: str, lab: type[AgentLab]) -> Iterator[Actor]:
    """Give an agent's home, folder and model; nothing that lives in the home outlives this."""
    home, directory = folder / f"{name}-home", folder / name
    home.mkdir()
    directory.mkdir()
    with StubModel() as stub:
        lab.furnish(home, directory.resolve(), stub, lab.hook_settings() or None)
        try:
            yield Actor(name, lab, stub, home, directory.resolve())
        finally:
            end_all(home)
