"""What every method of the orchestrator stands on: the road, the postbox, the clock, what is listened to."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self

from nova_torch.clean import MAX_BODY_BYTES
from nova_torch.communication.listening import Listening
from nova_torch.communication.postbox import Postbox
from nova_torch.communication.road import GONE_S, Road


class Base:
    """Opens nothing by itself: the first call that needs it does. `AsyncNovaOrchestrator` says what is what."""

    def __init__(
        self,
        *,
        socket: str | None = None,
        broker: str | None = None,
        postbox: Postbox | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        max_bytes: Callable[[], int] = lambda: MAX_BODY_BYTES,
        gone_s: float = GONE_S,
        listening: Listening | None = None,
    ) -> None:
        self._road = Road(socket=socket, broker=broker, clock_ms=clock_ms, gone_s=gone_s)
        self._postbox: Postbox = postbox if postbox is not None else self._road
        self._listening = listening if listening is not None else Listening()
        self._clock_ms = clock_ms
        self._max_bytes = max_bytes
        self._gone_s = gone_s

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._road!r}>"

    async def close(self) -> None:
        """Close the connection, if there is one."""
        await self._road.close()
