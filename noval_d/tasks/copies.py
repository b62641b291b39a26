"""What this node wrote of tasks, in its state file: put back when the broker has lost it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

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

    async def keep_longer(self, names: Iterable[TaskId], now_ms: int) -> None:
        """Keep the records of these tasks, as if they had been written now: they are not over."""
        touch = "UPDATE tasks SET updated_ms = ? WHERE id = ? AND updated_ms < ?"
        await self._store.write(*(Statement(touch, (now_ms, name, now_ms)) for name in names))

    def of(self, name: TaskId) -> tuple[Task, bytes] | None:
        """Return the record of one task that is kept, if there is one."""
        return next(self._those("SELECT id, record FROM tasks WHERE id = ?", name), None)

    def all(self, *, since_ms: int) -> list[tuple[Task, bytes]]:
        """Return every record that was written since.

        What is older was not open any more when this node ran last: it may be over, and forgotten by the broker.
        """
        return list(self._those("SELECT id, record FROM tasks WHERE updated_ms >= ? ORDER BY id", since_ms))

    def _those(self, query: str, value: str | int) -> Iterator[tuple[Task, bytes]]:
        for row in self._store.read(query, (value,)):
            try:
                yield unpack(bytes(row["record"]))[0], bytes(row["record"])
            except InvalidRequest as error:
                log.warning("tasks.unreadable", extra={"task": row["id"], "problem": error.message})

    @staticmethod
    def purge(before_ms: int) -> Statement:
        """Return what forgets the copies of tasks that nobody moved since, and that are not open."""
        return Statement("DELETE FROM tasks WHERE updated_ms < ?", (before_ms,))
