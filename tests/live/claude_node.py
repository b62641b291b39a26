"""A node that serves a real Claude Code."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from tests.lab.claude import ClaudeLab
from tests.live.agent_node import AgentNode, agent_node


class ClaudeNode(AgentNode):
    """An AgentNode whose lab is a ClaudeLab."""

    lab: ClaudeLab


@contextlib.contextmanager
def claude_node(**options: Any) -> Iterator[ClaudeNode]:
    """See `agent_node`."""
    with agent_node(ClaudeLab, **options) as made:
        assert isinstance(made.lab, ClaudeLab)
        yield ClaudeNode(made.node, made.stub, made.lab, made.name, made.directory)
