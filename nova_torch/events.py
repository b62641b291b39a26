"""The events of the message flow as programs see them, and which of them somebody wants. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of a node: `event` names it (`message.submitted`, `agent.state`, …); times are epoch ms.

    Of a message: `id`, `sender`, `priority` and `kind`, `state` and `reason`. Of a task: `task`, its id. `fields`
    has everything that came.
    """

    at_ms: int
    event: str
    agent: str
    node: str
    state: str = ""
    id: str = ""
    reason: str = ""
    sender: str = ""
    priority: str = ""
    kind: str = ""
    task: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Event:
        """Make an event from an item of the call `watch`."""
        names = ("event", "agent", "node", "state", "id", "reason", "sender", "priority", "kind", "task")
        at_ms = data.get("at_ms")
        return cls(
            at_ms=at_ms if isinstance(at_ms, int) else 0,
            **{name: str(data.get(name) or "") for name in names},
            fields=dict(data),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which events are wanted: those that have every value that is given."""

    agent: str | None = None
    sender: str | None = None
    state: str | None = None
    priority: str | None = None

    def wants(self, event: Mapping[str, Any]) -> bool:
        """Tell whether an item of the event stream is wanted."""
        asked = (
            ("agent", self.agent),
            ("sender", self.sender),
            ("state", self.state),
            ("priority", self.priority),
        )
        return all(value is None or event.get(name) == value for name, value in asked)

    def to_args(self) -> dict[str, str]:
        """Return the arguments of the call `watch`."""
        given = {
            "agent": self.agent, "sender": self.sender, "state": self.state, "priority": self.priority,
        }  # fmt: skip
        return {name: value for name, value in given.items() if value is not None}
