"""Remember what was started because another node asked for it: what is asked again starts nothing twice."""

from __future__ import annotations

from nova_torch.values import AgentId
from noval_d.mailroom.store import Statement, Store


class Asked:
    """The table `asked`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def agent_of(self, ask: str) -> str:
        """Return the agent that was started for `ask`; empty when none was."""
        rows = self._store.read("SELECT agent FROM asked WHERE id = ?", (ask,))
        return str(rows[0]["agent"]) if rows else ""

    @staticmethod
    def entry(ask: str, agent: AgentId, now_ms: int) -> Statement:
        """Return the statement that remembers a start."""
        return Statement(
            "INSERT OR IGNORE INTO asked (id, agent, at_ms) VALUES (?, ?, ?)", (ask, agent, now_ms)
        )

    @staticmethod
    def purge(before_ms: int) -> Statement:
        """Return the statement that forgets what is older."""
        return Statement("DELETE FROM asked WHERE at_ms < ?", (before_ms,))
