"""Make the object of `status`: what a node and its agents are at now."""

from __future__ import annotations

from collections import Counter
from typing import Any

from nova_torch.version import VERSION
from noval_d.agents.attention import opening
from noval_d.health.findings import findings
from noval_d.health.held import held
from noval_d.node.node import Node


def status(node: Node, *, private: bool) -> dict[str, Any]:
    """Return the object of `status --json`; with `private` also what panes show."""
    info = node.broker.info
    return {
        "node": node.name,
        "version": VERSION,
        "uptime_s": round(node.clock() - node.started, 1),
        "mode": node.dispatch.mode,
        "draining": None if node.draining.drain is None else node.draining.drain.to_json(),
        "broker": {
            "url": node.broker.url,
            "kind": info.kind if info is not None else "",
            "version": info.version if info is not None else "",
            "state": node.broker.state,
        },
        "tmux": [{"socket": node.tmux.socket.path, "state": node.tmux.state}],
        "agents": dict(Counter(agent.state.value for agent in node.roster.agents.values())),
        "outbox": node.outbox.depth(),
        "schedules": schedules(node),
        "paused": sorted(agent.id for agent in node.roster.agents.values() if agent.paused),
        "states": states(node),
        "attention": attention_rows(node, private=private),
        "held": held(node, private=private),
        "bridges": node.bridges.rows(),
        "health": [check.to_json() for check in findings(node, private=private) if check.severity != "ok"],
    }


def schedules(node: Node) -> dict[str, Any]:
    """Return how many schedules this node knows that are not over, and the next one."""
    active = node.schedules.book.active()
    next_ms, first = min(node.schedules.book.upcoming(), key=lambda pair: pair[0], default=(None, None))
    return {
        "active": len(active),
        "next_ms": next_ms,
        "next_id": None if first is None else first.id,
        "next_agent": None if first is None else first.agent,
    }


def states(node: Node) -> list[dict[str, Any]]:
    """Return the state of every agent of this node, and who told of it."""
    return [
        {
            "agent": agent.id,
            "state": agent.state.value,
            "source": agent.standing.source.value,
            "since_ms": agent.state_since_ms,
            "detail": agent.standing.detail,
        }
        for _, agent in sorted(node.roster.agents.items())
    ]


def attention_rows(node: Node, *, private: bool) -> list[dict[str, Any]]:
    """Return the agents that need a person, what for, and the command that opens each."""
    rows: list[dict[str, Any]] = []
    for _, agent in sorted(node.roster.agents.items()):
        needs = agent.attention
        if needs is None:
            continue
        rows.append(
            {
                "agent": agent.id,
                "reason": needs.reason,
                "detail": needs.detail,
                "since_ms": agent.attention_since_ms,
                "open": opening(agent.id),
                **({"shown": needs.shown} if private else {}),
            }
        )
    return rows
