"""Messages and hops of the outbox as rows of the state file, and back. No I/O."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from nova_torch.codec import decode_message, encode_message
from nova_torch.values import AgentId, Hop, Message, MessageId, NodeId, Receipt, State
from noval_d.mailroom.store import Statement

TIMED = (State.ACCEPTED, State.QUEUED, State.TYPED, State.SUBMITTED, State.ACKNOWLEDGED, State.REPLIED)
OUTGOING = "seq, id, agent, message, state, reason, updated_ms"
"""The columns that `outgoing` reads."""
RECEIPT = "id, agent, message, state, reason, node, final, created_ms"
"""The columns that `receipt` reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message on its way: its place in the order of this outbox, and its owner when it is known."""

    seq: int
    message: Message
    agent: AgentId
    envelope: bytes
    state: State
    updated_ms: int
    reason: str = ""


def outgoing(row: sqlite3.Row, message: Message | None = None) -> Outgoing:
    """Return what a row says; its `message` may be at hand."""
    return Outgoing(
        seq=row["seq"],
        message=message or decode_message(row["message"]),
        agent=AgentId(row["agent"]),
        envelope=bytes(row["message"]),
        state=State(row["state"]),
        updated_ms=row["updated_ms"],
        reason=row["reason"],
    )


def hop(message: MessageId, row: sqlite3.Row) -> Hop:
    """Return the hop of `message` that a row says."""
    return Hop(
        message=message,
        at_ms=row["at_ms"],
        node=NodeId(row["node"]),
        state=State(row["state"]),
        reason=row["reason"],
        final=bool(row["final"]),
    )


def receipt(row: sqlite3.Row, hops: Iterable[Hop]) -> Receipt:
    """Return the receipt of a message: what its row says, and when it came so far."""
    message = decode_message(row["message"])
    timings: dict[str, int] = {}
    for passed in hops:
        if passed.state in TIMED:
            timings.setdefault(passed.state.value, passed.at_ms - row["created_ms"])
    timings = {state: ms for state, ms in timings.items() if ms >= 0}  # the clock was set back meanwhile
    return Receipt(
        id=message.id,
        target=message.target,
        state=State(row["state"]),
        reason=row["reason"],
        agent=AgentId(row["agent"]),
        node=NodeId(row["node"]),
        final=bool(row["final"]),
        timings_ms=timings,
    )


def accepted(message: Message, agent: AgentId, node: NodeId) -> Receipt:
    """Return the receipt of a message that was accepted just now."""
    return Receipt(
        id=message.id,
        target=message.target,
        state=State.ACCEPTED,
        reason="",
        agent=agent,
        node=node,
        final=False,
        timings_ms={State.ACCEPTED.value: 0},
    )


def new_row(message: Message, agent: AgentId, node: NodeId, now_ms: int) -> Statement:
    """Return what writes a message that is accepted now; the same id again changes nothing."""
    return Statement(
        "INSERT INTO outbox (id, agent, message, state, node, created_ms, updated_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        (message.id, agent, encode_message(message), State.ACCEPTED.value, node, now_ms, now_ms),
    )


def hop_row(hop: Hop) -> Statement:
    """Return what writes a hop."""
    return Statement(
        "INSERT INTO hops (message, at_ms, node, state, reason, final) VALUES (?, ?, ?, ?, ?, ?)",
        (hop.message, hop.at_ms, hop.node, hop.state.value, hop.reason, int(hop.final)),
        adds=True,
    )


def heard_row(hop: Hop) -> Statement:
    """Return what writes a hop that may be known already: its receipt was read again."""
    return Statement(
        "INSERT INTO hops (message, at_ms, node, state, reason, final) SELECT ?1, ?2, ?3, ?4, ?5, ?6"
        " WHERE NOT EXISTS (SELECT 1 FROM hops WHERE message = ?1 AND at_ms = ?2 AND node = ?3 AND state = ?4"
        " AND reason = ?5 AND final = ?6)",
        (hop.message, hop.at_ms, hop.node, hop.state.value, hop.reason, int(hop.final)),
    )
