"""A node that serves a real agent which talks to the stub model: what every live test starts from."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from noval_d.canary.model.stub_model import StubModel
from tests.lab.agent_lab import AgentLab
from tests.support.node import TestNode, node, until


@dataclass(frozen=True, slots=True)
class AgentNode:
    """One agent, registered as `name`, with its own home, model and tmux server."""

    node: TestNode
    stub: StubModel
    lab: AgentLab
    name: str
    directory: Path
    """Where the agent works."""

    def send(self, body: str, **options: Any) -> str:
        return str(self.node.send(self.name, body, **options)["id"])

    def received(self, marker: str) -> int:
        return self.stub.received(marker)

    def wait_received(self, marker: str, timeout_s: float = 90.0) -> None:
        """Wait until the model got the marked message, and check that it got it once."""
        until(lambda: self.received(marker) > 0, timeout_s, f"{marker} at the model")
        assert self.received(marker) == 1

    def wait_idle(self, timeout_s: float = 90.0) -> None:
        until(lambda: self.state == "idle", timeout_s, f"{self.name} idle")

    @property
    def state(self) -> str:
        (record,) = (a for a in self.node.call("agents") if a["agent_id"] == self.name)
        return str(record["state"])


def needs(lab: type[AgentLab]) -> pytest.MarkDecorator:
    """Return the mark of tests that are skipped without the agent, unless NOVA_REQUIRE_LIVE names it.

    Also when NOVA_ONLY_LIVE names others.
    """
    required, only = (os.environ.get(name, "").split() for name in ("NOVA_REQUIRE_LIVE", "NOVA_ONLY_LIVE"))
    missing = lab.installed().find() is None and lab.kind.name not in required
    return pytest.mark.skipif(
        missing or (bool(only) and lab.kind.name not in only),
        reason=f"{lab.installed().title} is not installed (tests.lab.install {lab.kind.name}) or not asked for",
    )


@contextlib.contextmanager
def agent_node(
    kind: type[AgentLab],
    *,
    hooked: bool,
    wait_ready: bool = True,
    in_shell: bool = False,
    delay_s: float = 0.0,
    driver: str = "",
    settings: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[AgentNode]:
    """Start a stub model, the agent and a node; register the agent as `<kind>-0`, with its own driver.

    `settings` go over those of the hooks, `env` over the agent's environment.
    """
    with (
        StubModel(delay_s=delay_s) as stub,
        node(start=False) as made,
        tempfile.TemporaryDirectory(prefix="nova-w-", dir="/tmp", ignore_cleanup_errors=True) as directory,
    ):
        lab = kind.start(
            Path(directory),
            stub,
            settings={**(kind.hook_settings() if hooked else {}), **(settings or {})} or None,
            env={"NOVA_SOCKET": made.socket, "NOVA_STATE_DIR": str(made.state), **(env or {})},
            wait_ready=False,
            in_shell=in_shell,
        )
        with lab:
            made.env["NOVA_TMUX"] = str(lab.socket_path)
            made.start()  # while the agent starts
            made.wait_up()
            if wait_ready:
                lab.wait_ready()
            name = f"{kind.kind.name}-0"
            made.register(name, lab.pane, driver or kind.kind.name)
            yield AgentNode(made, stub, lab, name, Path(directory))
