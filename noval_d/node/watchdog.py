"""Feed systemd's watchdog while every part of the node moves, and only then. Source: sd_watchdog_enabled(3)."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from noval_d.node.pulse import beat_s, counted, rest

log = logging.getLogger("nova.node")

LOOKS = 4  # within the time that systemd allows
BEATS = 8  # of a part that waits for work, within the same time: two for each look


class Watchdog:
    """Knows which parts have moved since it was fed last. `feed` is called when all of them have."""

    def __init__(self, limit_s: float, feed: Callable[[], object]) -> None:
        self._limit_s = limit_s
        self._feed = feed
        self._still: set[str] = set()
        self._late: set[str] = set()
        self._parts: set[str] = set()
        self.stuck: tuple[str, ...] = ()
        """Parts that did not move for two looks on end; shown in STATUS."""

    def __repr__(self) -> str:
        return f"<Watchdog {self._limit_s:g} s parts={len(self._parts)} stuck={','.join(self.stuck)}>"

    async def watched(self, name: str, part: Coroutine[Any, Any, None]) -> None:
        """Run a part, which is expected to move until it ends."""
        beat_s.set(self._limit_s / BEATS)
        self._parts.add(name)
        try:
            await counted(part, lambda: self._still.discard(name))
        finally:
            self._parts.discard(name)

    def look(self) -> bool:
        """Feed if every part has moved since the last feed; return whether it did."""
        late = self._still & self._parts
        stuck = tuple(sorted(late & self._late))
        if stuck and stuck != self.stuck:
            log.error("node.part_stuck", extra={"parts": ",".join(stuck)})
        self.stuck, self._late = stuck, late
        if late:
            return False
        self._still = set(self._parts)
        self._feed()
        return True

    async def run(self) -> None:
        """Look until cancelled. What keeps this from running keeps the watchdog from being fed as well."""
        while True:
            self.look()
            await rest(self._limit_s / LOOKS)


def limit_s(env: Mapping[str, str] | None = None) -> float | None:
    """Return how often systemd wants to hear of this process, None when it does not."""
    environment = os.environ if env is None else env
    limit, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not limit.isascii() or not limit.isdigit() or int(limit) == 0 or pid not in ("", str(os.getpid())):
        return None
    return int(limit) / 1_000_000
