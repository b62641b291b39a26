"""Start the embedded broker when the node needs it, start it again when it died, stop it with the node."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from nova_torch.broker.embedded import EmbeddedBroker
from nova_torch.errors import NovaError

log = logging.getLogger("nova.broker")


class EmbeddedKeeper:
    """Keeps one embedded server in the node's state directory."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._server: EmbeddedBroker | None = None
        self._starting: asyncio.Future[EmbeddedBroker] | None = None
        self.starts = 0

    def __repr__(self) -> str:
        return f"<EmbeddedKeeper {self._server!r} starts={self.starts}>"

    async def url(self) -> str:
        """Return the URL of the running server, starting it (or adopting one that still runs) if need be."""
        self._starting = asyncio.ensure_future(EmbeddedBroker.start(self._directory))
        self._server = await asyncio.shield(
            self._starting
        )  # a start that nobody waits for goes on in its thread
        self.starts += 1
        return self._server.url

    async def stop(self) -> None:
        """End the server in order, also one that is just being started; its data stays."""
        if self._starting is not None:
            with contextlib.suppress(NovaError):
                self._server = await self._starting
        if self._server is not None:
            await self._server.stop()
