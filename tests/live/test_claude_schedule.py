"""A real Claude Code writes to itself for later, with its own novactl."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.lab.claude import ClaudeLab
from tests.live.agent_node import needs
from tests.live.claude_node import claude_node
from tests.support.node import until

pytestmark = [pytest.mark.live, pytest.mark.timeout(300), needs(ClaudeLab)]

SETTINGS = {"permissions": {"allow": ["Bash(novactl:*)"]}}
ENV = {"PATH": str(Path(sys.executable).parent)}


@pytest.mark.long
def test_claude_is_reminded_by_itself_once() -> None:
    with claude_node(hooked=True, settings=SETTINGS, env=ENV) as claude:
        claude.stub.mode = "tool"
        order = "RUN<<novactl schedule add --here --in 2s 'Look again. [''[later]]'>> [[order]]"
        assert claude.node.send_wait(claude.name, order)["state"] in ("submitted", "acknowledged")
        (schedule,) = until(
            lambda: claude.node.call("schedule_list", {"agent": claude.name, "all": True}), 60, "the schedule"
        )
        assert (schedule["sender"], schedule["agent"]) == (claude.name, claude.name)
        until(lambda: claude.node.call("schedule_show", {"id": schedule["id"]})["fired"], 30, "its time")
        claude.node.wait_state(schedule["id"], "submitted", "acknowledged", timeout_s=60)
        claude.wait_received("[[later]]")
        trace = claude.node.call("trace", {"id": schedule["id"]})
        assert trace["schedule"] == schedule["id"]
        assert claude.node.call("schedule_show", {"id": schedule["id"]})["fired"] == 1
