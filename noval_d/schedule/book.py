"""The schedules that this node knows: added here, or for agents of its own. In the state file, and at hand."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

from nova_torch.errors import InvalidRequest
from nova_torch.values import AgentId
from noval_d.mailroom.store import Statement, Store
from noval_d.schedule.schedule import Schedule, ScheduleId, pack, unpack

log = logging.getLogger("nova.schedule")

DAY_MS = 86_400_000
REMEMBER_MS = 400 * DAY_MS
"""How long a repeating schedule that is over stays known: a node that slept so long must not bring it back."""


class Book:
    """The table of schedules. All but the bodies of those that are over is at hand; a change is durable first."""

    def __init__(self, store: Store, clock_ms: Callable[[], int]) -> None:
        self._store = store
        self._clock_ms = clock_ms
        self._known: dict[ScheduleId, Schedule] = {}
        self._active: dict[ScheduleId, Schedule] = {}
        self._next_ms: dict[ScheduleId, int] = {}
        """When each is due next; without those whose time zone is not known here."""
        self._over_ms: dict[ScheduleId, int] = {}

    def __repr__(self) -> str:
        return f"<Book {len(self._known)} schedules, {len(self._active)} active>"

    def load(self) -> None:
        """Bring back what the state file remembers."""
        for row in self._store.read("SELECT id, asked, mark, updated_ms FROM schedules ORDER BY id"):
            try:
                schedule = unpack(bytes(row["asked"]), row["mark"])
            except InvalidRequest as error:
                log.warning("schedule.unreadable", extra={"schedule": row["id"], "problem": error.message})
                continue
            self._keep(schedule, row["updated_ms"])

    def get(self, schedule_id: str) -> Schedule | None:
        """Return the schedule of this id, over or not."""
        return self._known.get(ScheduleId(schedule_id))

    def all(self) -> list[Schedule]:
        """Return every known schedule, in the order of their ids."""
        return sorted(self._known.values(), key=lambda schedule: schedule.id)

    def active(self) -> list[Schedule]:
        """Return those that are not over."""
        return list(self._active.values())

    def upcoming(self) -> list[tuple[int, Schedule]]:
        """Return when each is due next; without those whose time zone is not known here."""
        return [(next_ms, self._active[schedule_id]) for schedule_id, next_ms in self._next_ms.items()]

    def body(self, schedule_id: ScheduleId) -> str:
        """Return the body of a schedule, also of one that is over; empty when it is not kept here."""
        rows = self._store.read("SELECT asked, mark FROM schedules WHERE id = ?", (schedule_id,))
        return unpack(bytes(rows[0]["asked"]), rows[0]["mark"]).body if rows else ""

    def row(self, schedule: Schedule) -> Statement:
        """Return what writes a schedule down; call `took` once it is written."""
        return Statement(
            "INSERT INTO schedules (id, asked, mark, updated_ms) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET mark = excluded.mark, updated_ms = excluded.updated_ms"
            " WHERE excluded.mark > mark",
            (schedule.id, pack(schedule), schedule.mark.packed(), self._clock_ms()),
        )

    def took(self, schedule: Schedule) -> None:
        """Note what was written."""
        known = self._known.get(schedule.id)
        self._keep(known.later(schedule.mark) if known is not None else schedule, self._clock_ms())

    async def write(self, *schedules: Schedule) -> None:
        """Write schedules down, in one transaction."""
        if schedules:
            await self._store.write(*(self.row(schedule) for schedule in schedules))
            for schedule in schedules:
                self.took(schedule)

    async def merge(self, found: Iterable[Schedule]) -> list[Schedule]:
        """Take over what is new, or further, in other copies; return what changed."""
        news: list[Schedule] = []
        for schedule in found:
            known = self._known.get(schedule.id)
            if known is None:
                news.append(schedule)
            elif (later := known.later(schedule.mark)) is not known:
                news.append(later)
        await self.write(*news)
        return news

    async def forget(self, schedules: Iterable[Schedule]) -> None:
        """Know these no longer."""
        gone = [schedule.id for schedule in schedules]
        await self._store.write(*(Statement("DELETE FROM schedules WHERE id = ?", (each,)) for each in gone))
        for each in gone:
            for table in (self._known, self._active, self._next_ms, self._over_ms):
                table.pop(each, None)

    def old(self, keep_ms: int) -> list[Schedule]:
        """Return those that are over for so long that they may be forgotten."""
        now_ms = self._clock_ms()
        return [
            schedule
            for schedule_id, over_ms in self._over_ms.items()
            if (schedule := self._known[schedule_id])
            and now_ms - over_ms > (keep_ms if schedule.when.once else max(keep_ms, REMEMBER_MS))
        ]

    def count(self, *, agent: AgentId | None = None, sender: str | None = None) -> int:
        """Return how many are not over, for an agent or of a sender."""
        return sum(
            (agent is None or schedule.agent == agent) and (sender is None or schedule.sender == sender)
            for schedule in self.active()
        )

    def _keep(self, schedule: Schedule, at_ms: int) -> None:
        self._active.pop(schedule.id, None)
        self._next_ms.pop(schedule.id, None)
        if schedule.mark.ended:
            self._known[schedule.id] = replace(schedule, body="")
            self._over_ms.setdefault(schedule.id, at_ms)
            return
        self._known[schedule.id] = self._active[schedule.id] = schedule
        with contextlib.suppress(InvalidRequest):
            next_ms = schedule.next_ms
            if next_ms is not None:
                self._next_ms[schedule.id] = next_ms
