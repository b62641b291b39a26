"""A message as a node remembers it, sent from there or received there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from nova_torch.values import Message, State


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRecord:
    """One row of a history. `body` is None for who may only read. Times are ms since the epoch."""

    id: str
    sender: str
    target: str
    agent: str
    state: State
    reason: str
    kind: str
    priority: str
    correlation_id: str
    reply_to: str
    created_ms: int
    body: str | None = None

    def to_json(self) -> dict[str, object]:
        """Return the object of the call `history`."""
        return {
            "id": self.id,
            "sender": self.sender,
            "target": self.target,
            "agent": self.agent,
            "state": self.state.value,
            "reason": self.reason,
            "kind": self.kind,
            "priority": self.priority,
            "correlation_id": self.correlation_id,
            "reply_to": self.reply_to,
            "created_ms": self.created_ms,
            "body": self.body,
        }

    @classmethod
    def of(cls, message: Message, *, agent: str, state: State, reason: str, private: bool) -> MessageRecord:
        """Make the row of `message`; with `private` its body too."""
        return cls(
            id=message.id,
            sender=message.sender,
            target=message.target,
            agent=agent,
            state=state,
            reason=reason,
            kind=message.kind.value,
            priority=message.priority.value,
            correlation_id=message.correlation_id,
            reply_to=message.reply_to,
            created_ms=message.created_ms,
            body=message.body if private else None,
        )

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> MessageRecord:
        """Make a row from an object of the call `history`; unknown fields are ignored."""
        names = (
            "id",
            "sender",
            "target",
            "agent",
            "reason",
            "kind",
            "priority",
            "correlation_id",
            "reply_to",
        )
        created_ms, body = data.get("created_ms"), data.get("body")
        return cls(
            **{name: str(data.get(name) or "") for name in names},
            state=State(str(data["state"])),
            created_ms=created_ms if isinstance(created_ms, int) else 0,
            body=body if isinstance(body, str) else None,
        )


_PROGRESS = (
    State.ACCEPTED,
    State.QUEUED,
    State.HELD,
    State.TYPED,
    State.EXPIRED,
    State.FAILED,
    State.DEAD,
    State.UNCONFIRMED,
    State.SUBMITTED,
    State.ACKNOWLEDGED,
    State.REPLIED,
)


def merged(rows: Iterable[MessageRecord], limit: int) -> list[MessageRecord]:
    """Return the last `limit` messages, oldest first, each once.

    Of what several tell of one message, the one that knows of most is right: its sender's node learns of a delivery
    later than the agent's does, and of an answer earlier. A body that one of them has left out is another's.
    """
    known: dict[str, MessageRecord] = {}
    for row in rows:
        other = known.get(row.id)
        if other is None:
            known[row.id] = row
            continue
        best = max(other, row, key=lambda one: _PROGRESS.index(one.state))
        body = best.body if best.body is not None else (other.body if row is best else row.body)
        known[row.id] = replace(best, body=body)
    return sorted(known.values(), key=lambda row: row.id)[-limit:]
