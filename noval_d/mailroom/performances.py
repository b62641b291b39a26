"""Remember what became of each agent's last messages: read once from the ledger, then noted as it happens."""

from __future__ import annotations

from collections import deque

from nova_torch.errors import StoreFailed
from nova_torch.performance import Performance
from nova_torch.values import AgentId, Message, State
from noval_d.mailroom.ledger import Ledger

LOOKED_AT = 100


class Performances:
    """The last verdicts of every agent that was asked about."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: dict[AgentId, deque[tuple[str, float]]] = {}
        self._figures: dict[AgentId, Performance] = {}
        """What was counted and has not changed since: each beat asks for those of every agent."""

    def __repr__(self) -> str:
        return f"<Performances of {len(self._known)} agents>"

    def of(self, agent: AgentId) -> Performance:
        """Return an agent's figures."""
        if agent in self._figures:
            return self._figures[agent]
        if agent not in self._known:
            try:
                rows = self._ledger.verdicts(agent, LOOKED_AT)
            except StoreFailed:  # asked again next time
                return Performance()
            found = [(state.value, _seconds(message, at_ms)) for message, state, at_ms in rows]
            self._known[agent] = deque(found, maxlen=LOOKED_AT)
        figures = self._figures[agent] = Performance.of(self._known[agent])
        return figures

    def settled(self, agent: AgentId, message: Message, state: State, at_ms: int) -> None:
        """Note a verdict that is written down."""
        self._figures.pop(agent, None)
        if agent in self._known:
            self._known[agent].append((state.value, _seconds(message, at_ms)))

    def reopened(self, agent: AgentId) -> None:
        """A verdict was taken back: read the ledger again."""
        self._known.pop(agent, None)
        self._figures.pop(agent, None)


def _seconds(message: Message, at_ms: int) -> float:
    return max(at_ms - message.created_ms, 0) / 1000  # clocks of two nodes may differ
