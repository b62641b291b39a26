"""What became of an agent's last messages, in figures. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """Counts over the last messages that were settled at the agent's node, 100 at most, and over all its tasks."""

    messages: int = 0
    acknowledged: int = 0
    """Proven by the agent's own hook."""
    submitted: int = 0
    """Proven otherwise: the agent has no hook."""
    failed: int = 0
    """failed, expired, dead or unconfirmed."""
    tasks_completed: int = 0
    tasks_failed: int = 0
    """Tasks that it gave back or had for too long."""
    avg_completion_time: float | None = None
    """Seconds that its tasks took which it completed; None: it has completed none."""
    ack_median_s: float | None = None
    """From the time it was sent until it was acknowledged, what was held in between too; None: none was."""

    @property
    def success_rate(self) -> float | None:
        """The part that was delivered, 0 to 1; None when nothing was settled."""
        return None if not self.messages else round(1 - self.failed / self.messages, 4)

    def to_json(self) -> dict[str, object]:
        """Return the object of `agents --json`."""
        return {
            "messages": self.messages,
            "acknowledged": self.acknowledged,
            "submitted": self.submitted,
            "failed": self.failed,
            "success_rate": self.success_rate,
            "tasks_completed": self.tasks_completed,
            "tasks_failed": self.tasks_failed,
            "avg_completion_time": self.avg_completion_time,
            "ack_median_s": self.ack_median_s,
        }

    @classmethod
    def from_json(cls, data: object) -> Performance:
        """Make it from such an object; what is missing or odd is 0."""
        if data == _NOTHING_YET:
            return NOTHING_YET
        given = data if isinstance(data, Mapping) else {}
        return cls(
            messages=_count(given.get("messages")),
            acknowledged=_count(given.get("acknowledged")),
            submitted=_count(given.get("submitted")),
            failed=_count(given.get("failed")),
            tasks_completed=_count(given.get("tasks_completed")),
            tasks_failed=_count(given.get("tasks_failed")),
            avg_completion_time=_seconds(given.get("avg_completion_time")),
            ack_median_s=_seconds(given.get("ack_median_s")),
        )

    def with_tasks(self, tally: Mapping[str, int]) -> Performance:
        """Return it with what became of the agent's tasks: `done`, `failed`, and `ms` that the done ones took."""
        if not tally:
            return self
        done = tally.get("done", 0)
        return replace(
            self,
            tasks_completed=done,
            tasks_failed=tally.get("failed", 0),
            avg_completion_time=round(tally.get("ms", 0) / done / 1000, 3) if done else None,
        )

    @classmethod
    def of(cls, settled: Iterable[tuple[str, float]]) -> Performance:
        """Make it from the verdicts (states) of messages, each with the seconds since it was sent."""
        from statistics import median  # 5 ms that every novactl would pay for

        rows = list(settled)
        acknowledged = [seconds for state, seconds in rows if state == "acknowledged"]
        submitted = sum(state == "submitted" for state, _ in rows)
        return cls(
            messages=len(rows),
            acknowledged=len(acknowledged),
            submitted=submitted,
            failed=len(rows) - len(acknowledged) - submitted,
            ack_median_s=round(median(acknowledged), 3) if acknowledged else None,
        )


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


NOTHING_YET = Performance()
"""Of who has settled nothing: one for all, since a fleet has thousands of them."""
_NOTHING_YET = NOTHING_YET.to_json()
