"""Answer the calls about the node itself: ping, status, doctor, configuration, stop, its hooks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from typing import Any

from nova_torch.config import load
from nova_torch.version import VERSION
from noval_d import health
from noval_d.calls.base import Base
from noval_d.control.args import Args
from noval_d.control.calls import Access, Peer
from noval_d.vitals.look import look

STATUS_S = 0.1  # between two statuses of a stream, at least


class About(Base):
    """One method a call."""

    async def ping(self, _peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
        """Say who answers."""
        return {"node": self._node.name, "version": VERSION, "pid": os.getpid()}

    async def status(self, peer: Peer, _args: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Return the node's status; as a stream, again soon after events."""
        private = peer.access >= Access.WRITE
        await self._refresh()
        news = False

        def first(_: object) -> bool:
            nonlocal news
            known, news = news, True
            return not known

        with self._node.events.subscribe(first) as events:
            yield health.status(self._node, private=private)
            async for _ in events:
                await asyncio.sleep(STATUS_S)  # a thousand events a second are no thousand statuses
                news = False
                yield health.status(self._node, private=private)

    async def doctor(self, peer: Peer, _args: Mapping[str, Any]) -> list[dict[str, str]]:
        """Return every finding about the node, good ones too."""
        await self._refresh()
        return health.checks(self._node, private=peer.access >= Access.WRITE)

    async def health(self, _peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
        """Return the node's health in figures, and what node and agents use."""
        await self._refresh()
        return (await look(self._node)).to_json()

    async def config(self, _peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
        """Return the effective configuration without secrets."""
        return self._node.config.shown()

    async def reload(self, _peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
        """Read the configuration again; return the keys that changed."""
        return {"changed": self._node.reload(load(self._node.config.source or None))}

    async def stop(self, _peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
        """Stop the daemon in order."""
        self._node.stop()
        return {}

    async def hook(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Take over a call of an agent's hook; what is nobody's is ignored."""
        asked = Args(args)
        if self._same_server(asked.optional_text("tmux")):
            await self._node.hooks.hear(
                asked.text("pane"), asked.text("event"), asked.optional_payload("payload")
            )
        return {}
