"""What this node wrote of tasks, in its state file: put back when the broker has lost it."""

from __future__ import annotations

import logging

from nova_torch.errors import InvalidRequest
from noval_d.mailroom.store import Statement, Store
from noval_d.tasks.task import Task, TaskId, unpack

log = logging.getLogger("nova.tasks")


class Copies:
    """The table of tasks. Methods raise StoreFailed."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __repr__(self) -> str:
        return f"<Copies {self._store!r}>"

    async def keep(self, task: Task, raw: bytes, now_ms: int) -> None:
        """Keep a record as it was written."""
        await self._store.write(
            Statement(
                "INSERT INTO tasks (id, record, updated_ms) VALUES (?, ?, ?) ON CONFLICT (id)"
                " DO UPDATE SET record = excluded.record, updated_ms = excluded.updated_ms",
                (task.id, raw, now_ms),
            )
        )

    def of(self, name: TaskId) -> tuple[Task, bytes] | None:
        """Return the record of one task that is kept, if there is one."""
        rows = self._store.read("SELECT record FROM tasks WHERE id = ?", (name,))
        return next(((unpack(bytes(row["record"]))[0], bytes(row["record"])) for row in rows), None)

    def all(self) -> list[tuple[Task, bytes]]:
        """Return every record that is kept."""
        found: list[tuple[Task, bytes]] = []
        for row in self._store.read("SELECT id, record FROM tasks ORDER BY id"):
            try:
                found.append((unpack(bytes(row["record"]))[0], bytes(row["record"])))
            except InvalidRequest as error:
                log.warning("tasks.unreadable", extra={"task": row["id"], "problem": error.message})
        return found

    @staticmethod
    def purge(before_ms: int) -> Statement:
        """Return what forgets the copies of tasks that nobody moved since."""
        return Statement("DELETE FROM tasks WHERE updated_ms < ?", (before_ms,))
