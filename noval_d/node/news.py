"""Put what happened to an agent or a message into the form of the event stream. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova_torch.values import AgentId, Hop, Message, NodeId
from noval_d.agents.agent import Agent
from noval_d.agents.attention import Attention, opening
from noval_d.agents.states import Transition
from noval_d.delivery.answer import Answered

PRIVATE = "shown"
"""The field that holds what a pane shows: for those who may write."""


def agent_event(
    agent: Agent, news: Transition | Attention | None, *, at_ms: int, node: NodeId
) -> dict[str, Any]:
    """Return the event of a changed state, or of what an agent needs a person for (None: nothing any more)."""
    event: dict[str, Any] = {"at_ms": at_ms, "event": "agent.attention", "agent": agent.id, "node": node}
    event["state"] = agent.standing.state.value
    if isinstance(news, Transition):
        now = news.now
        return {
            **event,
            "event": "agent.state",
            "state": now.state.value,
            "before": news.before.value,
            "source": now.source.value,
            "detail": now.detail,
            PRIVATE: now.shown,
        }
    if news is None:
        return {**event, "reason": "", "detail": "", "open": "", PRIVATE: ""}
    return {
        **event,
        "reason": news.reason,
        "detail": news.detail,
        "open": opening(agent.id),
        PRIVATE: news.shown,
    }


def unprocessed_event(agent: Agent, *, at_ms: int, node: NodeId) -> dict[str, Any]:
    """Return the event of a message that was acknowledged and of which no work was seen within the limit."""
    return {
        "at_ms": at_ms,
        "event": "agent.unprocessed",
        "id": agent.taken.message if agent.taken is not None else "",
        "agent": agent.id,
        "node": node,
        "state": agent.standing.state.value,
        "detail": "it has acknowledged this message and shows no sign of work",
    }


def hop_event(hop: Hop, agent: AgentId, message: Message | None) -> dict[str, Any]:
    """Return the event of a step of a message, which may be forgotten by now."""
    return {
        "at_ms": hop.at_ms,
        "event": f"message.{hop.state}",
        "id": hop.message,
        "agent": agent,
        "state": hop.state.value,
        "reason": hop.reason,
        "node": hop.node,
        "sender": message.sender if message else "",
        "priority": message.priority.value if message else "",
        "kind": message.kind.value if message else "",
    }


def answer_event(agent: Agent, done: Answered, *, by: str, at_ms: int, node: NodeId) -> dict[str, Any]:
    """Return the event of an answered dialog: who, what was pressed, and what was seen then."""
    return {
        "at_ms": at_ms,
        "event": "agent.answered",
        "agent": agent.id,
        "node": node,
        "state": agent.standing.state.value,
        "by": by,
        "choice": done.option.key,
        "fingerprint": done.answered.fingerprint,
        "outcome": done.outcome,
        "detail": f"{by} chose {done.option.key}",
        PRIVATE: f"{done.answered.question} {done.option.text}",
    }


def public(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event without what a pane shows: for those who may only read."""
    return {name: value for name, value in event.items() if name != PRIVATE}
