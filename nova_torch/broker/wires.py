"""Connections to one broker, each for one exchange at a time: commands in one write, their raw replies in order.

redis-py opens a connection (TLS, login, protocol). What passes then goes past it: its client took 0.2 ms of CPU
around each command, for a task, two timers and a dozen counters, more than the server and the kernel together
(`python -m benchmarks fleet`), its streams a third of what was left, asyncio's semaphores, limits and tasks of each
exchange a fifth of what was left then.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import hiredis
from redis import exceptions as redis_errors

Word = str | bytes | int | float
Command = tuple[Word, ...]

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
        self._opening: set[asyncio.Timeout] = set()
        """The limits of those, and of who waits until one is open."""
        self._free: list[_Wire] = []
        self._used: set[_Wire] = set()
        self._quiet: asyncio.Event | None = None

    def __repr__(self) -> str:
        return f"<Wires free={len(self._free)} used={len(self._used)}>"

    async def exchange(self, commands: Sequence[Command], limit_s: float | None = None) -> list[Any]:
        """Send `commands` and return the reply of each; what the server refuses is a ResponseError among them.

        Raises what redis-py and the event loop raise for a connection that fails, which is given up then, as it
        is when the caller is cancelled: its replies may still come. With `limit_s` a TimeoutError when they have
        not come by then.
        """
        if not commands:
            return []
        sent = b"".join(map(_packed, commands))
        wire = self._ready()
        if wire is None:
            wire, limit_s = await self._opened(limit_s)
        replies = wire.send(sent, len(commands), limit_s)
        try:
            return await replies
        except asyncio.CancelledError:
            wire.leave(replies)
            raise

    def begin(self, commands: Sequence[Command], limit_s: float) -> asyncio.Future[list[Any]]:
        """Do so for nobody yet: who waits for what it returns, and may be cancelled, shields that."""
        sent = b"".join(map(_packed, commands))
        wire = self._ready()
        if wire is None:
            return asyncio.create_task(self.exchange(commands, limit_s), name="broker.exchange")
        return wire.send(sent, len(commands), limit_s)

    def _ready(self) -> _Wire | None:
        """Take a connection that is open and free: then an exchange waits for nothing but its replies."""
        if self._taken >= self._size or not self._free:
            return None
        wire = self._free.pop()
        if not wire.clean:
            wire.close()
            return None
        self._taken += 1
        self._used.add(wire)
        return wire

    async def _opened(self, limit_s: float | None) -> tuple[_Wire, float | None]:
        """Wait for a connection, or make one, and take it; return what is left of the limit too."""
        async with asyncio.timeout(limit_s) as limit:
            self._opening.add(limit)
            try:
                await self._room()
                try:
                    wire = await self._clean()
                except BaseException:
                    self._leave()
                    raise
            finally:
                self._opening.discard(limit)
        self._used.add(wire)
        late_at = limit.when()
        return wire, None if late_at is None else late_at - asyncio.get_running_loop().time()

    async def _room(self) -> None:
        """Wait for a place."""
        if self._taken < self._size:
            self._taken += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except BaseException:
            if place.done() and not place.cancelled():
                self._leave()  # it was given just now
            raise

    async def _clean(self) -> _Wire:
        """Return a connection that is open, and in which nothing unasked lies."""
        while self._free:
            wire = self._free.pop()
            if wire.clean:
                return wire
            wire.close()
        redis = self._make()
        try:
            await redis.connect()
        except BaseException:
            with contextlib.suppress(redis_errors.RedisError, OSError, RuntimeError):
                await redis.disconnect(nowait=True)
            raise
        return _Wire(redis, self._back)

    def _back(self, wire: _Wire) -> None:
        """Take back a connection whose exchange is over."""
        self._used.discard(wire)
        if wire.ended is None:
            self._free.append(wire)
        self._leave()

    def _leave(self) -> None:
        """Give a place to who waits for one."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._taken -= 1
        if self._quiet is not None and not self._taken:
            self._quiet.set()

    def give_up(self) -> None:
        """End what waits for a connection, or for replies, now."""
        for limit in self._opening:
            if not limit.expired():
                limit.reschedule(0)
        for wire in list(self._used):
            wire.late()

    async def quiet(self) -> None:
        """Wait until no connection is in use, or about to be."""
        self._quiet = self._quiet or asyncio.Event()
        while self._taken:
            self._quiet.clear()
            await self._quiet.wait()

    def close(self) -> None:
        """End every connection."""
        wires, self._free = [*self._free, *self._used], []
        for wire in wires:
            wire.close()


class _Wire(asyncio.Protocol):
    """One connection: what redis-py has opened is taken over here, in place of redis-py's streams."""

    def __init__(self, redis: Any, back: Callable[[_Wire], None]) -> None:
        self._back = back
        """Called whenever an exchange is over."""
        self._writer = redis._writer  # noqa: SLF001 - it gives no other way past its streams
        """Kept: it would close the connection when it goes."""
        redis._reader = redis._writer = None  # noqa: SLF001 - so that it takes its own end for one in order
        self._transport = self._writer.transport
        self._streams = self._transport.get_protocol()
        self._parser = hiredis.Reader(
            protocolError=redis_errors.InvalidResponse,
            replyError=redis._parser.parse_error,  # noqa: SLF001 - its names of what a server refuses
            notEnoughData=_NOTHING,
        )
        self._loop = asyncio.get_running_loop()
        self._replies: list[Any] = []
        self._wanted = 0
        self._done: asyncio.Future[list[Any]] | None = None
        """The exchange that goes on."""
        self._late_at = self._look_at = math.inf
        """When the exchange has come to its limit, and when that is looked at: not for each exchange anew."""
        self._look: asyncio.TimerHandle | None = None
        self.ended: Exception | None = None
        """What ended the connection, or made it unfit for another exchange."""
        self._transport.set_protocol(self)

    @property
    def clean(self) -> bool:
        """Whether it is open, and nothing unasked lies in it."""
        return self.ended is None and not self._transport.is_closing()

    def send(self, sent: bytes, wanted: int, limit_s: float | None) -> asyncio.Future[list[Any]]:
        """Send bytes and return what gets as many replies as are wanted, or what ended the connection."""
        self._replies, self._wanted = [], wanted
        self._done = done = self._loop.create_future()
        self._late_at = math.inf if limit_s is None else self._loop.time() + limit_s
        if self._late_at < self._look_at:
            self._watch()
        try:
            self._transport.write(sent)
        except (OSError, RuntimeError) as error:
            self._end(error)
        return done

    def leave(self, replies: asyncio.Future[list[Any]]) -> None:
        """Give the connection up if `replies` may still come."""
        if self._done is replies:
            replies.cancel()
            self.late()

    def late(self) -> None:
        """Wait no longer."""
        self._end(TimeoutError())

    def close(self) -> None:
        """End it in order."""
        self._transport.close()

    def _end(self, error: Exception) -> None:
        """Give the connection up."""
        if self.ended is None:
            self.ended = error
            self._transport.abort()
        done, self._done = self._done, None
        if done is not None:
            self._back(self)
            if not done.done():
                done.set_exception(self.ended)

    def _watch(self) -> None:
        """See to it that the limit is looked at."""
        if self._look is not None:
            self._look.cancel()
        self._look_at = self._late_at
        self._look = self._loop.call_at(self._look_at, self._looked)

    def _looked(self) -> None:
        self._look, self._look_at = None, math.inf
        if self._done is not None:
            if self._late_at <= self._loop.time():
                self.late()
            else:
                self._watch()

    # -- from the event loop --

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        done, replies, parser = self._done, self._replies, self._parser
        if done is None or done.done():
            self._end(redis_errors.InvalidResponse(UNASKED))
            return
        try:
            parser.feed(data)
            while (reply := parser.gets()) is not _NOTHING:
                if isinstance(reply, redis_errors.ConnectionError):
                    raise reply
                replies.append(reply)
        except redis_errors.RedisError as error:
            self._end(error)
            return
        missing = self._wanted - len(replies)
        if missing < 0:
            self._end(redis_errors.InvalidResponse(UNASKED))
        elif not missing:
            self._done = None
            self._back(self)
            done.set_result(replies)

    def eof_received(self) -> None:
        """Take it that the server has said its last."""
        self._end(redis_errors.ConnectionError(CLOSED))

    def connection_lost(self, error: Exception | None) -> None:
        """Take it that the connection is gone; the streams that redis-py has of it hear of it too."""
        self._end(error or redis_errors.ConnectionError(CLOSED))
        if self._look is not None:
            self._look.cancel()
        self._streams.connection_lost(error)


_NOTHING = object()
