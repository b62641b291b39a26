"""Keep the lives of spawned agents in the state file, so that a restarted daemon goes on with them."""

from __future__ import annotations

import logging

from nova_torch.values import AgentId
from noval_d.life.plan import Life, unpacked
from noval_d.mailroom.store import Statement, Store

log = logging.getLogger("nova.life")


class Book:
    """The table `lives`. What `write` has returned for survives a crash."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self) -> list[Life]:
        """Return every life; what cannot be read is left out, with a word in the log."""
        found: list[Life] = []
        for row in self._store.read("SELECT agent, life FROM lives ORDER BY agent"):
            try:
                found.append(unpacked(row["life"]))
            except (ValueError, TypeError, KeyError) as error:
                log.warning("life.unreadable", extra={"agent": row["agent"], "problem": str(error)})
        return found

    async def write(self, life: Life) -> None:
        """Keep a life as it is now. Raises StoreFailed."""
        await self._store.write(self.entry(life))

    async def erase(self, agent: AgentId) -> None:
        """Forget a life. Raises StoreFailed."""
        await self._store.write(Statement("DELETE FROM lives WHERE agent = ?", (agent,)))

    @staticmethod
    def entry(life: Life) -> Statement:
        """Return the statement that keeps a life."""
        return Statement(
            "INSERT INTO lives (agent, life) VALUES (?, ?)"
            " ON CONFLICT (agent) DO UPDATE SET life = excluded.life",
            (life.agent, life.packed()),
        )
