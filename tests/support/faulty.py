"""A TCP proxy in front of a broker that does to connections what networks do: in a thread, steered by a test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from nova_torch.broker.scripts import Script

ANSWER_S = 10.0
Words = tuple[bytes, ...]


def of(script: Script) -> Words:
    """Return what a request that runs `script` holds: one of these."""
    return (script.sha.encode(), script.text.encode())


class FaultyProxy:
    """Passes bytes on, until it is told otherwise. Its methods may be called from any thread."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.port = 0
        self.seen = 0
        """How many of the replies that were to be lost, or cut, were."""
        self.rewrite: Callable[[bytes], bytes] | None = None
        self._armed: tuple[Words, str] | None = None
        self._swallows = False
        self._ends: set[_Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def url_of(self, user: str) -> str:
        """Return the URL with which `user` (empty: the default one) logs in through here."""
        return f"redis://{user}@127.0.0.1:{self.port}" if user else f"redis://127.0.0.1:{self.port}"

    def open(self) -> None:
        self._thread.start()
        self.listen()

    def close(self) -> None:
        self.refuse()
        self._do(self._settle())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(ANSWER_S)
        self._loop.close()

    # -- what networks do --

    def listen(self) -> None:
        """Take connections (again), at the same port."""
        self._do(self._listen())

    def refuse(self) -> None:
        """Reset every connection, and take no more."""
        self._do(self._refuse())

    def cut(self) -> None:
        """Reset every connection; new ones are taken."""
        self._do(self._cut())

    @contextlib.contextmanager
    def hole(self) -> Iterator[None]:
        """Swallow every byte, and tell nobody: connections of before and meanwhile never pass anything again."""
        self._do(self._swallow())
        try:
            yield
        finally:
            self._swallows = False

    def lose(self, words: Words, how: str) -> None:
        """Pass the next request with one of `words` on; its reply is lost, as `how` says.

        `half`: half of it comes, then a reset. `silent`: nothing comes any more.
        """
        self._armed = (words, how)

    # -- how --

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(ANSWER_S)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._cut()

    async def _cut(self) -> None:
        for end in list(self._ends):
            end.reset()

    async def _swallow(self) -> None:
        self._swallows = True
        for end in self._ends:
            end.dead = True

    async def _settle(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        end = _Connection(self, reader, writer)
        self._ends.add(end)
        try:
            await end.serve(dead=self._swallows)
        finally:
            self._ends.discard(end)
            end.reset()

    def doom(self, request: bytes) -> str:
        """Return what is to become of the reply to this request: empty, or how it is lost."""
        if self._armed is None or not any(word in request for word in self._armed[0]):
            return ""
        how, self._armed = self._armed[1], None
        return how


class _Connection:
    """One client, and its connection to the server."""

    def __init__(
        self, proxy: FaultyProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._proxy, self._reader, self._writer = proxy, reader, writer
        self._up: asyncio.StreamWriter | None = None
        self._doom = ""
        self.dead = False

    async def serve(self, *, dead: bool) -> None:
        self.dead = dead
        try:
            up_reader, self._up = await asyncio.open_connection("127.0.0.1", self._proxy.target)
        except OSError:
            return
        both = [
            asyncio.create_task(self._requests(self._up)),
            asyncio.create_task(self._replies(up_reader)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _requests(self, up: asyncio.StreamWriter) -> None:
        while piece := await self._reader.read(1 << 20):
            if self.dead:
                continue
            self._doom = self._doom or self._proxy.doom(piece)
            up.write(piece)
            await up.drain()

    async def _replies(self, up: asyncio.StreamReader) -> None:
        while piece := await up.read(1 << 20):
            if self.dead:
                continue
            if self._doom:
                self._proxy.seen += 1
                if self._doom == "half":
                    self._writer.write(piece[: len(piece) // 2])
                    await self._writer.drain()
                if self._doom != "silent":
                    return
                self.dead = True
                continue
            self._writer.write(self._proxy.rewrite(piece) if self._proxy.rewrite else piece)
            await self._writer.drain()

    def reset(self) -> None:
        """End both sides, the client's by RST."""
        for writer in (self._writer, self._up):
            if writer is None:
                continue
            raw = writer.get_extra_info("socket")
            if raw is not None:
                with contextlib.suppress(OSError):
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


@contextlib.contextmanager
def faulty_proxy(port: int) -> Iterator[FaultyProxy]:
    """Run a proxy in front of a port of loopback."""
    proxy = FaultyProxy(port)
    proxy.open()
    try:
        yield proxy
    finally:
        proxy.close()
