"""A message as a node remembers it, sent from there or received there. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
