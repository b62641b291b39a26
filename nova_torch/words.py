"""Ids and states as bare words, for programs that start too often to load `values`, which has them all."""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` itself takes its time
if TYPE_CHECKING:
    from typing import NewType

    AgentId = NewType("AgentId", str)
    NodeId = NewType("NodeId", str)
    MessageId = NewType("MessageId", str)
    PaneId = NewType("PaneId", str)
else:
    AgentId = NodeId = MessageId = PaneId = str

PROVEN = ("submitted", "acknowledged", "replied")  # each one says more than the one before
UNDELIVERED = ("unconfirmed", "failed", "expired", "dead")
