"""Say which messages wait at an agent, for how long, and why."""

from __future__ import annotations

from typing import Any

from noval_d.agents.states import MIXED
from noval_d.delivery import steps
from noval_d.delivery.worker import Worker
from noval_d.node.node import Node


def held(node: Node, *, private: bool) -> list[dict[str, Any]]:
    """Return the messages that wait at the head of an agent's queue, with the reason."""
    rows: list[dict[str, Any]] = []
    now = node.clock()
    for agent_id, worker in sorted(node.roster.workers.items()):
        rows += _limited(worker, agent_id, now)
        item = worker.current
        if item is None:
            continue
        state, reason = item.told
        if worker.hold is not None:
            reason, detail, since = worker.hold.reason.value, worker.hold.detail, worker.hold_since
            if private and worker.hold.shown:
                detail += f": {worker.hold.shown}"
        elif state == "typed" and reason:
            detail = MIXED if reason == steps.MIXED else "typed, waiting for it to be taken"
            since = worker.hold_since or now
        else:
            continue
        rows.append(
            {
                "id": item.message.id,
                "agent": agent_id,
                "reason": reason,
                "detail": detail,
                "held_s": round(now - since, 1),
                "waiting": worker.in_hand,
            }
        )
    return rows


def _limited(worker: Worker, agent: str, now: float) -> list[dict[str, Any]]:
    """Return the messages that a limit of conversations keeps back, of each sender the first."""
    return [
        {
            "id": limited.item.message.id,
            "agent": agent,
            "reason": limited.hold.reason.value,
            "detail": limited.hold.detail,
            "held_s": round(now - limited.since, 1),
            "waiting": worker.in_hand,
        }
        for limited in worker.turns.limited.values()
    ]
