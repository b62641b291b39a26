"""Decide what is to be done about a schedule now: send, leave out, or wait. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass

from noval_d.schedule.schedule import Schedule
from noval_d.schedule.times import after, latest

BACK_MS = 3_600_000
"""A mark that is further ahead of the clock than this follows a clock that was set back.

What the clock shows a second time within this is not due a second time. It is more than the clocks of two nodes
may differ, so that a new owner never takes back what the old one did.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a schedule asks for. At most one message: of several missed times the last one stands for all."""

    done_ms: int
    """Every time up to this is decided then."""
    fire_ms: int | None = None
    """The time whose message is sent now."""
    missed_ms: int | None = None
    """The first time that is left out, if one is."""
    back: bool = False
    """The clock was set back, and the mark follows it."""

    @property
    def nothing(self) -> bool:
        """Whether everything stays as it is."""
        return self.fire_ms is None and self.missed_ms is None and not self.back


def ahead(schedule: Schedule, now_ms: int) -> bool:
    """Tell whether the mark of a repeating schedule is so far ahead of the clock that it has to follow it."""
    return not schedule.when.once and schedule.mark.done_ms > now_ms + BACK_MS


def decide(schedule: Schedule, now_ms: int, *, on_time_ms: int) -> Decision:
    """Return what is to be done at `now_ms`. What is `on_time_ms` late at most is not late.

    A later time is missed; the schedule's policy says whether it is sent late (`fire`, up to `late_ms`) or left
    out (`skip`).
    """
    done = schedule.mark.done_ms
    if schedule.mark.ended:
        return Decision(done_ms=done)
    if ahead(schedule, now_ms):
        return Decision(done_ms=now_ms, back=True)
    first = after(schedule.when, done)
    if first is None or first > now_ms:
        return Decision(done_ms=done)
    late_ms = max(on_time_ms, schedule.late_ms if schedule.missed == "fire" else 0)
    too_late = max(done, now_ms - late_ms - 1)
    due = latest(schedule.when, too_late, now_ms)
    if due is None:
        return Decision(done_ms=too_late, missed_ms=first)
    return Decision(done_ms=due, fire_ms=due, missed_ms=first if first != due else None)
