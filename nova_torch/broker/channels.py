"""Listen to channels on a connection of its own, and notice when nothing is heard any more.

A subscriber whose connection is half open hears nothing and is told nothing, so it publishes a beat of its own and
listens for it. What was published meanwhile is lost: a channel is at most once.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis import exceptions as redis_errors

from nova_torch.broker.connection import Link
from nova_torch.errors import BrokerUnavailable

BEAT_S = 5.0
DEAF_S = 12.0
"""Two beats that are not heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What was published: by which subscription (a channel or a pattern) it came, on which channel."""

    subscription: str
    channel: str
    data: bytes

    def __repr__(self) -> str:
        return f"<Heard {self.channel} {len(self.data)} bytes>"


class Channels:
    """Subscriptions of one connection. Make it with `open`, end it with `close`."""

    def __init__(self, link: Link, beat: str) -> None:
        self._link = link
        self._beat = beat
        self._token = secrets.token_hex(8).encode()
        self._client = link.single()
        self._pubsub: Any = self._client.pubsub()
        self._beat_at = self._heard_at = time.monotonic()

    @classmethod
    async def open(cls, link: Link, names: Sequence[str], patterns: Sequence[str], *, beat: str) -> Channels:
        """Subscribe, and hear the first beat. Raises BrokerUnavailable."""
        made = cls(link, beat)
        try:
            with link.translated():
                async with asyncio.timeout(link.timeout_s):
                    await made._subscribe(beat, names, patterns)
        except BaseException:
            await made.close()
            raise
        return made

    async def _subscribe(self, beat: str, names: Sequence[str], patterns: Sequence[str]) -> None:
        await self._pubsub.subscribe(beat, *names)
        if patterns:
            await self._pubsub.psubscribe(*patterns)
        answers = 0
        while answers < 1 + len(names) + len(patterns):  # what comes before the last is not promised yet
            message = await self._pubsub.get_message(timeout=self._link.timeout_s)
            answers += message is not None and message["type"].endswith("subscribe")

    async def next(self, *, wait_s: float) -> Heard | None:
        """Return the next message, None when none comes in `wait_s`. Raises BrokerUnavailable when deaf."""
        now = time.monotonic()
        if now - self._beat_at >= BEAT_S:
            self._beat_at = now
            await self._link.command("PUBLISH", self._beat, self._token)
        if now - self._heard_at > DEAF_S:
            raise BrokerUnavailable(
                f"nothing is heard any more from {self._link.shown}.", "It is subscribed again."
            )
        with self._link.translated():
            message = await self._pubsub.get_message(timeout=wait_s)
        if message is None or message["type"] not in ("message", "pmessage"):
            return None
        self._heard_at = time.monotonic()
        channel = message["channel"].decode(errors="replace")
        if channel == self._beat:
            return None
        pattern = message["pattern"]
        return Heard(
            subscription=pattern.decode(errors="replace") if pattern is not None else channel,
            channel=channel,
            data=message["data"],
        )

    async def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(redis_errors.RedisError, OSError):
            await self._pubsub.aclose()
        with contextlib.suppress(redis_errors.RedisError, OSError):
            await self._client.aclose()

    def __repr__(self) -> str:
        return f"<Channels of {self._link.shown}>"
