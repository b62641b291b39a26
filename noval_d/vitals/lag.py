"""Measure how late the event loop is: whatever blocks it makes every agent wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

PERIOD_S = 1.0
KEPT = 60  # so the worst of the last minute is known


class LoopLag:
    """Sleeps a second at a time and notes how much later it woke."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._late_s: deque[float] = deque(maxlen=KEPT)
        self._due: float | None = None

    def __repr__(self) -> str:
        return f"<LoopLag worst={self.worst_ms}>"

    @property
    def worst_ms(self) -> float | None:
        """The worst of the last minute in ms, a wake-up that is late right now included; None: not measured yet."""
        overdue = [] if self._due is None else [max(0.0, self._clock() - self._due)]
        measured = [*self._late_s, *overdue] if self._late_s else []
        return round(max(measured) * 1000, 1) if measured else None

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            self._due = self._clock() + PERIOD_S
            await asyncio.sleep(PERIOD_S)
            self._late_s.append(max(0.0, self._clock() - self._due))
