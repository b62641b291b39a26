"""Start the embedded broker when the node needs it, start it again when it died, stop it with the node."""

from __future__ import annotations

import logging

from nova_torch.broker.embedded import EmbeddedBroker

log = logging.getLogger("nova.broker")


class EmbeddedKeeper:
    """Keeps one embedded server in the node's state directory."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._server: EmbeddedBroker | None = None
        self.starts = 0

    def __repr__(self) -> str:
        return f"<EmbeddedKeeper {self._server!r} starts={self.starts}>"

    async def url(self) -> str:
        """Return the URL of the running server, starting it (or adopting one that still runs) if need be."""
        self._server = await EmbeddedBroker.start(self._directory)
        self.starts += 1
        return self._server.url

    async def stop(self) -> None:
        """End the server in order; its data stays."""
        if self._server is not None:
            await self._server.stop()
