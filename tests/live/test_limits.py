"""A usage limit is told in the agent's own words, until the model answers again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.lab.agent_lab import AgentLab
from tests.lab.aider import AiderLab
from tests.lab.codex import CodexLab
from tests.lab.gemini import GeminiLab
from tests.lab.opencode import OpencodeLab
from tests.live.agent_node import AgentNode, agent_node, needs
from tests.support.node import until

pytestmark = [pytest.mark.live, pytest.mark.timeout(300), pytest.mark.long]
RATE = {"error": {"message": "Rate limit reached for stub-model", "code": "rate_limit_exceeded"}}
USAGE = {"error": {"type": "usage_limit_reached", "message": "The usage limit has been reached"}}
DAILY = {
    "code": 429,
    "status": "RESOURCE_EXHAUSTED",
    "message": "You exceeded your current quota.",
    "details": [
        {
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}],
        }
    ],
}


@dataclass(frozen=True, slots=True)
class Kind:
    """What a provider says, and what the agent makes of it."""

    lab: type[AgentLab]
    body: Mapping[str, Any]
    says: str
    stops: str = ""
    """What ends its dialog."""


KINDS = [
    pytest.param(kind, id=kind.lab.kind.name, marks=needs(kind.lab))
    for kind in (
        Kind(CodexLab, USAGE, "hit your usage limit"),
        Kind(GeminiLab, {"error": DAILY}, "Usage limit reached", "stop"),
        Kind(OpencodeLab, RATE, "Rate limit reached"),
        Kind(AiderLab, RATE, "has rate limited you"),
    )
]


def limits(agent: AgentNode) -> list[str]:
    """Return what the health findings say of usage limits."""
    return [f["message"] for f in agent.node.call("status")["health"] if f["code"] == "usage_limit"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_reached_limit_is_told_until_the_model_answers_again(kind: Kind) -> None:
    with agent_node(kind.lab, hooked=False) as agent:
        agent.node.wait_state(agent.send("[[before]] hello"), "submitted", timeout_s=60)
        agent.lab.wait_for("STUB-OK", 60)
        agent.wait_idle()
        assert limits(agent) == []
        agent.stub.limit_body, agent.stub.limit = kind.body, {}
        first = agent.send("[[first]] and now?")
        until(
            lambda: any(kind.says in told for told in limits(agent)), 120, f"the limit {agent.lab.capture()}"
        )
        agent.stub.limit = None
        if kind.stops:
            agent.node.call("dialog_answer", {"agent_id": agent.name, "choice": kind.stops}, timeout_s=20)
        agent.node.wait_state(first, "submitted", timeout_s=60)
        agent.wait_idle(60)
        agent.node.wait_state(agent.send("[[second]] go on"), "submitted", timeout_s=60)
        agent.wait_received("[[second]]")
        until(lambda: limits(agent) == [], 20, "the end of the limit")
