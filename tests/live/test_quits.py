"""Agents without hooks are asked to quit when they are stopped or restarted, and begin a new conversation then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab.agent_lab import AgentLab
from tests.lab.aider import AiderLab
from tests.lab.opencode import OpencodeLab
from tests.live.agent_node import needs
from tests.live.spawned import Stage, stage

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]
EACH = pytest.mark.parametrize(
    "lab", [pytest.param(lab, id=lab.kind.name, marks=needs(lab)) for lab in (OpencodeLab, AiderLab)]
)
ASKED = "it quit when it was asked"
# aider took 2.6 s to end after the Enter of its /exit, on a busy machine
PATIENT = {"NOVA_LIFE_QUIT_S": "60"}


def begin(agent: Stage) -> None:
    """Spawn it, and have it answer a message."""
    assert agent.steps(**agent.args())[-1] == "ready"
    agent.wait_proven(agent.send("[[one]] hello"))
    agent.wait_received("[[one]]")
    pane = agent.record()["pane"]
    agent.node.tmux.wait_for(pane, "STUB-OK", 60)
    # at work aider has no box to be asked in
    agent.node.tmux.wait_for(pane, lambda screen: agent.lab.composer(screen) is not None, 60)
    agent.wait_idle()


@pytest.mark.long
@EACH
def test_it_quits_when_it_is_asked(lab: type[AgentLab]) -> None:
    with stage(lab, env=PATIENT) as agent:
        begin(agent)
        answer = agent.node.call("stop_agent", {"agent_id": agent.name}, 60)
        assert answer["ended"] == ASKED
        assert json.loads((Path(answer["archive"]) / "summary.json").read_text())["exit"]["code"] == 0


@pytest.mark.long
@EACH
def test_it_is_asked_at_a_restart_and_takes_no_other_conversation_for_its_own(lab: type[AgentLab]) -> None:
    with stage(lab, env=PATIENT) as agent:
        begin(agent)
        assert agent.steps("restart", agent_id=agent.name)[-1] == "ready"
        assert ASKED in agent.node.log()
        agent.wait_proven(agent.send("[[two]] and now?"))
        agent.wait_received("[[two]]")
        told = next(r for r in reversed(agent.stub.requests) if "[[two]]" in str(r.user_texts))
        assert "[[one]]" not in str(told.user_texts)


@pytest.mark.long
@EACH
def test_a_draft_is_never_sent_to_make_it_quit(lab: type[AgentLab]) -> None:
    with stage(lab) as agent:
        begin(agent)
        pane = agent.record()["pane"]
        agent.node.tmux.tmux("send-keys", "-t", pane, "-l", "half a [[thought]]")
        agent.node.tmux.wait_for(pane, "[[thought]]")
        answer = agent.node.call("stop_agent", {"agent_id": agent.name}, 60)
        assert answer["ended"] != ASKED
        assert agent.received("[[thought]]") == 0
