"""A proxy in front of a Unix socket that loses a reply: the request arrives, the answer never does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


class LossyProxy:
    """Passes bytes on. After `lose(word)` the next request with `word` in it is passed on, and its connection
    is closed as soon as the server has answered."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._word: bytes | None = None
        self.lost = 0

    def lose(self, word: str) -> None:
        """Lose the reply to the next request that holds `word`."""
        self._word = word.encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""
        up_reader, up_writer = await asyncio.open_unix_connection(self._target)
        doomed = asyncio.Event()

        async def requests() -> None:
            while piece := await reader.read(65536):
                if self._word and self._word in piece:
                    self._word = None
                    doomed.set()
                up_writer.write(piece)
                await up_writer.drain()

        async def replies() -> None:
            while piece := await up_reader.read(65536):
                if doomed.is_set():
                    self.lost += 1
                    return
                writer.write(piece)
                await writer.drain()

        tasks = [asyncio.create_task(requests()), asyncio.create_task(replies())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            for end in (writer, up_writer):
                end.close()  # both before the first wait: this task may be cancelled there
            await asyncio.gather(*tasks, return_exceptions=True)
            for end in (writer, up_writer):
                with contextlib.suppress(OSError):
                    await end.wait_closed()


@contextlib.asynccontextmanager
async def lossy_proxy(target: str) -> AsyncIterator[tuple[LossyProxy, str]]:
    """Run a proxy in front of `target`; gives it and its own URL."""
    proxy = LossyProxy(target)
    path = f"{target}.lossy"
    clients: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clients.add(asyncio.create_task(proxy.serve(reader, writer)))

    server = await asyncio.start_unix_server(accept, path)
    try:
        yield proxy, f"unix://{path}"
    finally:
        server.close()
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        await server.wait_closed()
