"""Connections to one broker, each for one exchange at a time: commands in one write, their raw replies in order.

redis-py opens a connection (TLS, login, protocol) and ends it. What passes in between goes past it: its client took
0.2 ms of CPU around each command, for a task, two timers and a dozen counters, more than the server and the kernel
together (`python -m benchmarks fleet`), its streams a third of what was left, asyncio's semaphores and limits a
tenth of what was left then.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import hiredis
from redis import exceptions as redis_errors

Word = str | bytes | int | float
Command = Sequence[Word]

_packed: Callable[[tuple[Word, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]  # said of one word
CLOSED = "Connection closed by server."
UNASKED = "it said something unasked"


class Wires:
    """At most `size` connections, each made by `make` when all others are in use."""

    def __init__(self, make: Callable[[], Any], size: int) -> None:
        self._make = make
        self._size = size
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        """Who waits until one of the connections is free, in order."""
        self._free: list[_Wire] = []
        self._used: set[_Wire] = set()

    def __repr__(self) -> str:
        return f"<Wires free={len(self._free)} used={len(self._used)}>"

    @property
    def ready(self) -> bool:
        """Whether a connection is open and free: then an exchange waits for nothing but its replies."""
        return self._taken < self._size and bool(self._free) and self._free[-1].clean

    async def exchange(self, commands: Sequence[Command], limit_s: float | None = None) -> list[Any]:
        """Send `commands` and return the reply of each; what the server refuses is a ResponseError among them.

        Raises what redis-py and the event loop raise for a connection that fails, which is given up then, as it
        is when the caller is cancelled: its replies may still come. With `limit_s` a TimeoutError when they have
        not come by then.
        """
        if not commands:
            return []
        if limit_s is not None and not self.ready:
            async with asyncio.timeout(limit_s):
                return await self._exchange(commands)
        return await self._exchange(commands, limit_s)

    async def _exchange(self, commands: Sequence[Command], limit_s: float | None = None) -> list[Any]:
        """Send `commands`; the limit is that of the replies."""
        sent = b"".join([_packed(tuple(words)) for words in commands])
        if self._taken < self._size:
            self._taken += 1
        else:
            await self._room()
        try:
            wire = self._free.pop() if self._free else _Wire(self._make())
            self._used.add(wire)
            try:
                if not wire.clean:
                    await wire.connect()
                replies = await wire.exchange(sent, len(commands), limit_s)
            except BaseException:
                await wire.close()
                raise
            finally:
                self._used.discard(wire)
            self._free.append(wire)
            return replies
        finally:
            self._leave()

    async def _room(self) -> None:
        """Wait for a place."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except BaseException:
            if place.done() and not place.cancelled():
                self._leave()  # it was given just now
            raise

    def _leave(self) -> None:
        """Give a place to who waits for one."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._taken -= 1

    def give_up(self) -> None:
        """End what waits for replies now."""
        for wire in self._used:
            wire.late()

    async def close(self) -> None:
        """End every connection."""
        wires, self._free = [*self._free, *self._used], []
        for wire in wires:
            await wire.close()


class _Wire(asyncio.Protocol):
    """One connection: once redis-py has opened it, this takes what comes, in place of redis-py's streams."""

    def __init__(self, opened: Any) -> None:
        self._redis = opened
        self._transport: Any = None
        self._streams: Any = None
        self._parser: Any = None
        self._replies: list[Any] = []
        self._wanted = 0
        self._done: asyncio.Future[None] | None = None
        self._ended: Exception | None = None
        """What ended the connection, or made it unfit for another exchange."""

    @property
    def clean(self) -> bool:
        """Whether it is open, and nothing unasked lies in it."""
        return self._transport is not None and self._ended is None and not self._transport.is_closing()

    async def connect(self) -> None:
        """Connect, or connect anew when the server has closed it or something unasked came."""
        await self.close()
        await self._redis.connect()
        self._parser = hiredis.Reader(
            protocolError=redis_errors.InvalidResponse,
            replyError=self._redis._parser.parse_error,  # noqa: SLF001 - its names of what a server refuses
            notEnoughData=_NOTHING,
        )
        self._ended = None
        self._transport = self._redis._writer.transport  # noqa: SLF001 - it gives no other way past its streams
        self._streams = self._transport.get_protocol()
        self._transport.set_protocol(self)

    async def exchange(self, sent: bytes, wanted: int, limit_s: float | None = None) -> list[Any]:
        """Send bytes and return as many replies as are wanted."""
        self._replies, self._wanted = [], wanted
        loop = asyncio.get_running_loop()
        self._done = loop.create_future()
        limit = None if limit_s is None else loop.call_later(limit_s, self.late)
        self._transport.write(sent)
        try:
            await self._done
        finally:
            self._done = None
            if limit is not None:
                limit.cancel()
        if len(self._replies) != wanted and self._ended is not None:
            raise self._ended
        return self._replies

    async def close(self) -> None:
        """Give the connection up."""
        self._transport = None
        with contextlib.suppress(redis_errors.RedisError, OSError, RuntimeError):
            await self._redis.disconnect(nowait=True)

    def late(self) -> None:
        """Wait no longer."""
        self._end(TimeoutError())

    # -- from the event loop --

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        try:
            if self._done is None or self._done.done():
                raise redis_errors.InvalidResponse(UNASKED)
            self._parser.feed(data)
            while (reply := self._parser.gets()) is not _NOTHING:
                if isinstance(reply, redis_errors.ConnectionError):
                    raise reply
                self._replies.append(reply)
            if len(self._replies) > self._wanted:
                raise redis_errors.InvalidResponse(UNASKED)
        except redis_errors.RedisError as error:
            self._end(error)
        else:
            if len(self._replies) == self._wanted:
                self._done.set_result(None)

    def eof_received(self) -> None:
        """Take it that the server has said its last."""
        self._end(redis_errors.ConnectionError(CLOSED))

    def connection_lost(self, error: Exception | None) -> None:
        """Take it that the connection is gone; the streams that redis-py has of it hear of it too."""
        self._end(error or redis_errors.ConnectionError(CLOSED))
        self._streams.connection_lost(error)

    def _end(self, error: Exception) -> None:
        self._ended = self._ended or error
        if self._done is not None and not self._done.done():
            self._done.set_result(None)


_NOTHING = object()
