"""A node that spawns a real agent which talks to the stub model: what the live tests of its life start from."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nova_torch.protocol.client import Client
from noval_d.canary.model.stub_model import StubModel
from noval_d.canary.processes import end_all, living_in
from tests.lab.agent_lab import AgentLab
from tests.lab.arrived import arrived
from tests.support.node import TestNode, node, until

READY_S = 90.0
# where those keep their conversations that go on with them here: opencode does with a port only, aider never does
CONVERSATIONS = {"claude": ".claude/projects", "codex": ".codex/sessions", "gemini": ".gemini/tmp"}


@dataclass(frozen=True, slots=True)
class Stage:
    """A node, a stub model, and a folder and a home for the agent `name`, which is not there yet."""

    node: TestNode
    stub: StubModel
    lab: type[AgentLab]
    home: Path
    directory: Path

    @property
    def name(self) -> str:
        return f"{self.lab.kind.name}-1"

    @property
    def proven(self) -> str:
        """The state in which a message ends for which there is every proof that this agent can give."""
        return "acknowledged" if self.lab.hook_settings() else "submitted"

    def args(self, **more: Any) -> dict[str, Any]:
        """Return what is asked of the daemon's `spawn`."""
        good = {
            "role": self.lab.kind.name,
            "agent_id": self.name,
            "command": [str(self.lab.installed().find()), *self.lab.arguments(self.stub)],
            "driver": self.lab.kind.name,
            "cwd": str(self.directory),
            "env": {**self.lab.environment(self.stub), "HOME": str(self.home)},
        }
        return {**good, **more}

    def steps(self, call: str = "spawn", **args: Any) -> list[str]:
        """Follow a start to its end; return its steps. Raises what ends it."""
        with Client.connect(self.node.socket, 10.0) as client:
            return [str(step["step"]) for step in client.stream(call, args, READY_S)]

    def spawn_and_send(self, body: str, **more: Any) -> str:
        """Spawn, send `body` as soon as the program runs, follow both; return the message's id."""
        with Client.connect(self.node.socket, 10.0) as client:
            steps = client.stream("spawn", self.args(**more), READY_S)
            assert next(steps)["step"] == "started"
            message = self.send(body)
            assert [step["step"] for step in steps][-1] == "ready"
        return message

    def send(self, body: str) -> str:
        return str(self.node.send(self.name, body)["id"])

    def wait_proven(self, message: str) -> None:
        self.node.wait_state(message, self.proven, timeout_s=READY_S)

    def received(self, marker: str) -> int:
        """How often a prompt reached the model, over all starts."""
        return arrived(self.stub.requests)[marker]

    def wait_received(self, *markers: str) -> None:
        """Wait until the model got each marked prompt, and check that it got it once."""
        for marker in markers:
            until(lambda: self.received(marker) > 0, 60, f"{marker} at the model, {self.node.log()[-2000:]}")  # noqa: B023
            assert self.received(marker) == 1

    def record(self) -> dict[str, Any]:
        (record,) = self.node.call("agents")
        return dict(record)

    def wait_idle(self) -> None:
        until(lambda: self.record()["state"] == "idle", 30, f"{self.name} idle")

    def wait_kept(self, marker: str) -> None:
        """Wait until the agent has written down its conversation: it can be resumed only from there."""
        until(lambda: any(marker.encode() in data for data in self._kept()), 30, f"{marker} in its files")

    def _kept(self) -> Iterator[bytes]:
        for file in (self.home / CONVERSATIONS[self.lab.kind.name]).rglob("*.json*"):
            with contextlib.suppress(OSError):
                if file.is_file():
                    yield file.read_bytes()

    def kill(self) -> int:
        """kill -9 the program of its pane; return its pid."""
        pid = int(self.node.tmux.value(self.record()["pane"], "pane_pid"))
        os.kill(pid, signal.SIGKILL)
        return pid

    def processes(self) -> Mapping[int, str]:
        """Return what runs in the agent's home."""
        found = {}
        for process in living_in(self.home):
            with contextlib.suppress(OSError):
                found[process.pid] = Path(f"/proc/{process.pid}/cmdline").read_text().replace("\0", " ")
        return found


@contextlib.contextmanager
def stage(lab: type[AgentLab], *, env: Mapping[str, str] | None = None) -> Iterator[Stage]:
    """Give a node without agents, and the files and folders of one; leave nothing behind. `env` is the node's."""
    with (
        StubModel() as stub,
        tempfile.TemporaryDirectory(prefix="nova-w-", dir="/tmp", ignore_cleanup_errors=True) as directory,
        node(env=env) as made,
    ):
        home = made.tmux.home / lab.kind.name
        home.mkdir()
        lab.furnish(home, Path(directory).resolve(), stub, lab.hook_settings() or None)
        try:
            yield Stage(made, stub, lab, home, Path(directory).resolve())
        finally:
            made.tmux.stop()
            end_all(home)
