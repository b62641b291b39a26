"""Call the daemon from asyncio: many calls and streams at once over one connection, every wait limited."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING, Any, Self

from nova_torch.errors import BadFrame, FrameTooLarge, Lagged, NovaError
from nova_torch.protocol.frames import (
    FrameReader,
    answer,
    check_hello,
    hello,
    is_end,
    pack,
    request,
    taken_bytes,
    timed_out,
)
from nova_torch.protocol.unreachable import from_os_error, hung_up, not_ours, too_long, unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from types import TracebackType

CHUNK_BYTES = 262_144
STREAM_FRAMES = 256  # what a stream's reader may lag behind before its stream ends with Lagged
RETRY_S = 0.01
CLOSE_S = 1.0  # for what was written to leave


class AsyncClient:
    """A connection to the daemon. Make it with `await AsyncClient.connect`; use it as a context manager."""

    def __init__(self, path: str, streams: _Streams, timeout_s: float) -> None:
        self.path = path
        self.timeout_s = timeout_s
        self.server_version = ""
        self._from, self._to = streams
        self._frames = FrameReader()
        self._request_bytes = 0
        self._ids = 0
        self._waiting: dict[int, _Inbox] = {}
        self._lost: NovaError | None = None
        self._reader: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, path: str | os.PathLike[str], timeout_s: float = 10.0) -> Self:
        """Connect to the daemon at `path` and greet it.

        `timeout_s` limits this and is the limit of every call that names none. Raises DaemonUnreachable with
        the reason and the cure, ProtocolMismatch, NotAllowed, Busy.
        """
        path = os.fspath(path)
        long = too_long(path)
        if long is not None:
            raise long
        deadline = asyncio.get_running_loop().time() + timeout_s
        try:
            client = cls(path, await _dial(path, deadline), timeout_s)
            try:
                async with asyncio.timeout_at(deadline):
                    await client._greet()
            except BaseException:
                client._to.close()
                raise
        except OSError as error:
            raise from_os_error(path, error) from error
        client._reader = asyncio.create_task(client._read(), name=f"nova-client {path}")
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        state = "open" if self._lost is None else self._lost.code
        return f"<AsyncClient {self.path} {state} in_flight={len(self._waiting)}>"

    async def close(self) -> None:
        """Close the connection and fail what still waits; again is fine."""
        if self._reader is not None and not self._reader.done():
            self._reader.cancel()
            await asyncio.wait([self._reader])
        self._fail(unreachable(self.path, "the connection is closed", "Connect again"))
        with contextlib.suppress(OSError):  # TimeoutError is one
            async with asyncio.timeout(CLOSE_S):
                await self._to.wait_closed()

    async def call(
        self, name: str, args: Mapping[str, Any] | None = None, timeout_s: float | None = None
    ) -> Any:
        """Ask the daemon and return its answer.

        Raises the NovaError that it reported, TimedOut when no answer came in `timeout_s` (the daemon goes
        on), DaemonUnreachable when the connection is lost. Cancelling it harms no other call.
        """
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        call_id, inbox = self._enter()
        try:
            async with asyncio.timeout(limit_s):
                await self._send(request(call_id, name, args, more=False))
                return answer(await inbox.next())
        except TimeoutError:
            raise timed_out(name, limit_s) from None
        finally:
            del self._waiting[call_id]

    async def stream(
        self, name: str, args: Mapping[str, Any] | None = None, timeout_s: float | None = None
    ) -> AsyncGenerator[Any, None]:
        """Ask the daemon for a stream and yield its snapshot, then its deltas, until it ends.

        `timeout_s` limits the whole stream; None lets it run on, but its snapshot must come within the
        client's own limit. Close the generator (`contextlib.aclosing`) to end the stream at the daemon too.
        """
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        until: float | None = asyncio.get_running_loop().time() + limit_s
        call_id, inbox = self._enter()
        ended = True
        try:
            async with asyncio.timeout(limit_s):
                ended = False
                await self._send(request(call_id, name, args, more=True))
            while True:
                async with asyncio.timeout_at(until):
                    frame = await inbox.next()
                ended = is_end(frame)
                if "err" in frame or not ended:
                    yield answer(frame)
                if ended:
                    return
                if timeout_s is None:
                    until = None
        except TimeoutError:
            raise timed_out(name, limit_s) from None
        finally:
            del self._waiting[call_id]
            if not ended and self._lost is None:
                self._to.write(pack({"id": call_id, "cancel": True}))

    async def _greet(self) -> None:
        try:
            frame = await self._next_frame()
            if "err" in frame:
                answer(frame)
            said = check_hello(frame, us="this program", them="nova-torchd")
        except (BadFrame, FrameTooLarge) as error:
            raise not_ours(self.path) from error
        self.server_version = str(said.get("version", ""))
        self._request_bytes = taken_bytes(said)

    def _enter(self) -> tuple[int, _Inbox]:
        if self._lost is not None:
            raise self._lost
        self._ids += 1
        inbox = _Inbox()
        self._waiting[self._ids] = inbox
        return self._ids, inbox

    async def _send(self, frame: dict[str, Any]) -> None:
        packed = pack(frame, self._request_bytes)
        if self._lost is not None:
            raise self._lost
        self._to.write(packed)
        try:
            await self._to.drain()
        except OSError:
            # The reader task finds the same and knows what the daemon said before it closed.
            await asyncio.sleep(0)

    async def _read(self) -> None:
        try:
            while True:
                frame = await self._next_frame()
                if frame.get("id") is None and "err" in frame:
                    answer(frame)  # an error of the connection, not of a call: the daemon closes it
                inbox = self._waiting.get(frame["id"]) if type(frame.get("id")) is int else None
                if inbox is not None:
                    inbox.put(frame)
        except NovaError as error:
            self._fail(error)
        except OSError:
            self._fail(hung_up(self.path))

    async def _next_frame(self) -> dict[str, Any]:
        while (frame := self._frames.next()) is None:
            data = await self._from.read(CHUNK_BYTES)
            if not data:
                raise hung_up(self.path)
            self._frames.feed(data)
        return frame

    def _fail(self, error: NovaError) -> None:
        if self._lost is None:
            self._lost = error
        self._to.close()
        for inbox in self._waiting.values():
            inbox.fail(self._lost)


class _Inbox:
    """What came for one call and was not taken yet: bounded, so that one slow reader holds up nobody."""

    __slots__ = ("_error", "_frames", "_news")

    def __init__(self) -> None:
        self._frames: list[dict[str, Any]] = []
        self._news = asyncio.Event()
        self._error: NovaError | None = None

    def put(self, frame: dict[str, Any]) -> None:
        if len(self._frames) >= STREAM_FRAMES:
            self._frames.clear()
            self.fail(
                Lagged("this program read its stream too slowly.", "Ask again: it starts with a snapshot.")
            )
        elif self._error is None:
            self._frames.append(frame)
            self._news.set()

    def fail(self, error: NovaError) -> None:
        if self._error is None:
            self._error = error
        self._news.set()

    async def next(self) -> dict[str, Any]:
        while not self._frames:
            if self._error is not None:
                raise self._error
            self._news.clear()
            await self._news.wait()
        return self._frames.pop(0)


async def _dial(path: str, deadline: float) -> _Streams:
    """Connect and say hello before there is a transport, which would lose the reason of a refusal."""
    loop = asyncio.get_running_loop()
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            # Not loop.sock_connect: a Unix socket connects at once or, with the daemon's queue full, says
            # EAGAIN, which the loop would take for a connection under way.
            sock.connect(path)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.send(pack(hello()), socket.MSG_NOSIGNAL)
            return await asyncio.open_unix_connection(sock=sock, limit=CHUNK_BYTES)
        except BlockingIOError:
            sock.close()
            if loop.time() + RETRY_S >= deadline:
                raise
            await asyncio.sleep(RETRY_S)
        except BaseException:
            sock.close()
            raise


_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
