"""What must be told back of bridged messages, in the state file: it outlives the daemon."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, fields
from typing import Any

import msgpack

from nova_torch.values import MessageId
from noval_d.bridges.draft import Origin
from noval_d.mailroom.store import Statement, Store

log = logging.getLogger("nova.bridges")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A bridged message and what was told of it; `trying` may have been, so whoever tells it looks first."""

    message: MessageId
    origin: Origin
    told: tuple[str, ...]
    trying: str
    again: bool
    """The message may be bridged by another node as well."""
    at_ms: int


class Bridged:
    """The table of bridged messages."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @staticmethod
    def came(message: MessageId, origin: Origin, *, again: bool, now_ms: int) -> Statement:
        """Note, together with the message in the outbox, where it came from."""
        return Statement(
            "INSERT INTO bridged (id, origin, again, at_ms) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
            (message, msgpack.packb(asdict(origin)), int(again), now_ms),
        )

    def find(self, message: MessageId) -> Row | None:
        """Return what is known of a message; None when no bridge brought it."""
        rows = self._store.read("SELECT * FROM bridged WHERE id = ?", (message,))
        origin = _origin(bytes(rows[0]["origin"])) if rows else None
        if origin is None:
            return None
        row = rows[0]
        return Row(
            message=message,
            origin=origin,
            told=tuple(row["told"].split()),
            trying=row["trying"],
            again=bool(row["again"]),
            at_ms=row["at_ms"],
        )

    def behind(self) -> list[MessageId]:
        """Return the messages of which something happened that was not looked at, oldest first."""
        rows = self._store.read(
            "SELECT b.id FROM bridged b JOIN outbox o ON o.id = b.id WHERE b.state != o.state ORDER BY b.at_ms"
        )
        return [MessageId(row["id"]) for row in rows]

    async def trying(self, message: MessageId, key: str) -> None:
        """Note, before it is told, what is about to be."""
        await self._store.write(Statement("UPDATE bridged SET trying = ? WHERE id = ?", (key, message)))

    async def told(self, row: Row, key: str) -> Row:
        """Note what was told; return the row as it is now."""
        told = (*row.told, key)
        await self._store.write(
            Statement("UPDATE bridged SET told = ?, trying = '' WHERE id = ?", (" ".join(told), row.message))
        )
        return Row(
            message=row.message, origin=row.origin, told=told, trying="", again=row.again, at_ms=row.at_ms
        )

    async def seen(self, message: MessageId, state: str) -> None:
        """Note that everything up to this state of the message was told."""
        await self._store.write(Statement("UPDATE bridged SET state = ? WHERE id = ?", (state, message)))

    @staticmethod
    def purge(before_ms: int) -> Statement:
        """Forget what came before `before_ms` and is not on its way any more."""
        return Statement(
            "DELETE FROM bridged WHERE at_ms < ? AND id NOT IN (SELECT id FROM outbox)",
            (before_ms,),
            slow=True,
        )


def _origin(packed: bytes) -> Origin | None:
    known = {key.name for key in fields(Origin)}
    try:
        data: dict[str, Any] = msgpack.unpackb(packed)
        return Origin(**{name: str(value) for name, value in data.items() if name in known})
    except (ValueError, TypeError, AttributeError, msgpack.UnpackException):
        log.warning("bridges.unreadable_row")
        return None
