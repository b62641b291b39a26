"""Count what each bridge took and dropped since the daemon started, for `status` and `doctor`. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True, kw_only=True)
class Tally:
    """One bridge."""

    name: str
    via: str
    key: str
    taken: int = 0
    """Messages that the outbox accepted."""
    told: int = 0
    """Answers and receipts that were written back."""
    known: int = 0
    """Read again and known already."""
    ignored: int = 0
    """Our own entries, and what is for others."""
    dropped: int = 0
    """Put to the dead letters of the bridges, or lost."""
    dropped_ms: int = 0
    reason: str = ""
    """Of the last that was dropped."""
    problem: str = ""
    """Why it cannot be read now."""

    def to_json(self) -> dict[str, Any]:
        """Return the row of `status`."""
        return {
            "name": self.name,
            "via": self.via,
            "key": self.key,
            "taken": self.taken,
            "told": self.told,
            "known": self.known,
            "ignored": self.ignored,
            "dropped": self.dropped,
            "dropped_ms": self.dropped_ms,
            "reason": self.reason,
            "problem": self.problem,
        }
