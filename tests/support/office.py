"""A node with a developer who only reads and a reviewer who answers, for tests of the library."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from nova_torch import NovaOrchestrator
from tests.lab.tmux import PROGRAMS
from tests.support.agents import Tui
from tests.support.node import TestNode, node
from tests.support.talkers import talker

ANSWER = "Yes, merge it."
NOWHERE = "/tmp/nova-no-such-daemon.sock"

assert PROGRAMS.is_dir()


@dataclass(frozen=True)
class Office:
    node: TestNode
    log: Path
    reviewer: Tui

    @property
    def broker(self) -> str:
        return f"unix://{self.node.state}/broker/broker.sock"

    def typed(self, text: str) -> int:
        """How often a text was typed into the developer's pane."""
        return self.log.read_bytes().count(text.encode())

    def asked(self, text: str) -> int:
        """How many prompts of the reviewer hold a text."""
        return sum(text in prompt for prompt in self.reviewer.prompts())


@contextlib.contextmanager
def office(folder: Path, env: Mapping[str, str] | None = None) -> Iterator[Office]:
    """Run it: `agent_123` is a developer who knows python and sql, `reviewer` answers what it is asked."""
    with node(env=env) as made:
        log = folder / "developer.bytes"
        pane = made.tmux.open_program("rawlog.py", [str(log)])
        made.tmux.wait_for(pane, "READY")
        wish = {"pane": pane, "driver": "line", "role": "developer", "skills": ["python", "sql"]}
        made.call("register", {"agent_id": "agent_123", **wish})
        reviewer = talker(made, folder, "reviewer", answer=ANSWER)
        yield Office(made, log, reviewer)


def direct(office: Office) -> NovaOrchestrator:
    """Return the library as it is used on a machine without a daemon."""
    return NovaOrchestrator(socket=NOWHERE, broker=office.broker)


def at_home(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give this process the environment of the node's user, and nothing of the developer's own."""
    for name in (
        "DRAGONFLY_HOST",
        "DRAGONFLY_PORT",
        "NOVA_TORCH_CONFIG",
        "TMUX",
        "TMUX_PANE",
        "XDG_CONFIG_HOME",
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in office.node.environment.items():
        monkeypatch.setenv(name, value)
