"""A node that serves a real Claude Code which talks to the stub model: what every live test starts from."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from novactl.hooks.claude import EVENTS, command
from tests.lab.claude import ClaudeLab
from tests.lab.stub_model import StubModel
from tests.support.node import TestNode, node, until


@dataclass(frozen=True, slots=True)
class ClaudeNode:
    """`agents` are registered by the names claude-0, claude-1, …; each has its own home, model and tmux."""

    node: TestNode
    stub: StubModel
    lab: ClaudeLab
    name: str
    directory: Path
    """Where the agent works."""

    def send(self, body: str, **options: Any) -> str:
        return str(self.node.send(self.name, body, **options)["id"])

    def received(self, marker: str) -> int:
        return self.stub.received(marker)

    def wait_received(self, marker: str, timeout_s: float = 30.0) -> None:
        """Wait until the model got the marked message, and check that it got it once."""
        until(lambda: self.received(marker) > 0, timeout_s, f"{marker} at the model")
        assert self.received(marker) == 1

    def wait_idle(self, timeout_s: float = 30.0) -> None:
        until(lambda: self.state == "idle", timeout_s, f"{self.name} idle")

    @property
    def state(self) -> str:
        (record,) = self.node.call("agents", {"state": None})
        return str(record["state"])


def hook_settings() -> dict[str, Any]:
    """What `novactl hooks install claude` writes."""
    hooks = {
        event: [{"hooks": [{"type": "command", "command": command(event), "timeout": 5}]}] for event in EVENTS
    }
    return {"hooks": hooks}


@contextlib.contextmanager
def claude_node(
    *, hooked: bool, wait_ready: bool = True, in_shell: bool = False, delay_s: float = 0.0
) -> Iterator[ClaudeNode]:
    """Start a stub model, a Claude Code and a node; register the agent."""
    with (
        StubModel(delay_s=delay_s) as stub,
        node(start=False) as made,
        tempfile.TemporaryDirectory(prefix="nova-w-", dir="/tmp", ignore_cleanup_errors=True) as directory,
    ):
        lab = ClaudeLab.start(
            Path(directory),
            stub,
            settings=hook_settings() if hooked else None,
            env={"NOVA_SOCKET": made.socket, "NOVA_STATE_DIR": str(made.state)},
            wait_ready=wait_ready,
            in_shell=in_shell,
        )
        with lab:
            made.env["NOVA_TMUX"] = str(lab.socket_path)
            made.start()
            made.wait_up()
            made.register("claude-0", lab.pane, "claude")
            yield ClaudeNode(made, stub, lab, "claude-0", Path(directory))
