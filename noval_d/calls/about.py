"""Answer the calls about the node itself: ping, status, doctor, configuration, stop, its hooks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from nova_torch import audit
from nova_torch.errors import StoreFailed
from nova_torch.fleet import NODE, NodeView, everybody
from nova_torch.policy import ACTIONS, KINDS, Party, Request, party_of_node
from nova_torch.version import VERSION
from noval_d.calls.base import Base, unknown
from noval_d.control.args import Args
from noval_d.control.calls import Access, Peer
from noval_d.environment import load_again
from noval_d.health.findings import checks
from noval_d.health.status import status as status_of
from noval_d.node.reload import reload
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
            yield status_of(self._node, private=private)
            async for _ in events:
                await asyncio.sleep(STATUS_S)  # a thousand events a second are no thousand statuses
                news = False
                yield status_of(self._node, private=private)

    async def doctor(self, peer: Peer, _args: Mapping[str, Any]) -> list[dict[str, str]]:
        """Return every finding about the node, good ones too."""
        await self._refresh()
        return checks(self._node, private=peer.access >= Access.WRITE)

    async def health(self, _peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
        """Return the node's health in figures, and what node and agents use."""
        await self._refresh()
        return (await look(self._node)).to_json()

    async def audit(self, _peer: Peer, args: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the last lines of the audit log, the newest last."""
        asked = Args(args)
        since_ms = asked.optional_integer("since_ms", least=0) or 0
        limit = asked.optional_integer("limit", least=1, most=10_000) or audit.ROWS
        directory = self._node.config.state.dir
        try:  # in a thread: there may be megabytes to read
            return await asyncio.to_thread(audit.read, directory, since_ms=since_ms, limit=limit)
        except OSError as error:
            raise StoreFailed(
                f"the audit log cannot be read: {error.strerror}.", "See: novactl doctor"
            ) from None

    async def policy_check(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Say whether somebody may do something here, and which rule of the policy decides."""
        asked, guard = Args(args), self._node.guard
        views = await self._fleet_views()
        roles = {str(r.agent_id): r for r in everybody(view for view in views if view.alive)}

        def party(name: str) -> Party:
            if name.startswith("node:"):
                return party_of_node(name.removeprefix("node:"))
            known = roles.get(name)
            if known is None:
                return guard.party(name)
            return Party(name=name, role=known.role, node=known.node)

        request = Request(
            action=asked.optional_choice("do", ACTIONS) or "send",
            by=party(asked.text("from")),
            to=party(asked.text("to")),
            kind=asked.optional_choice("kind", KINDS) or KINDS[0],
            command=asked.flag("command"),
        )
        ruling = guard.policy.decide(request)
        return {
            "allow": ruling.allow,
            "rule": ruling.rule,
            "why": ruling.why,
            "do": request.action,
            "from": {"name": request.by.name, "role": request.by.role, "node": request.by.node},
            "to": {"name": request.to.name, "role": request.to.role, "node": request.to.node},
            "file": self._node.config.policy.file,
            "unknown": [told for each in (request.by, request.to) if (told := _unknown(each, views))],
        }

    async def config(self, peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
        """Return the effective configuration without secrets; prompts of templates are for writers."""
        return self._node.config.shown(private=peer.access >= Access.WRITE)

    async def reload(self, _peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
        """Read the configuration again; return the keys that changed."""
        return {"changed": reload(self._node, load_again(self._node.config.source))}

    async def stop(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Stop the daemon in order."""
        self._demand("operate", peer, Args(args), party_of_node(self._node.name))
        self._node.stop()
        return {}

    async def hook(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Take over a call of an agent's hook; what is nobody's is ignored."""
        asked = Args(args)
        if self._same_server(asked.optional_text("tmux")):
            await self._node.hooks.hear(
                asked.text("pane"),
                asked.text("event"),
                asked.optional_payload("payload"),
                asked.optional_integer("at_ms"),
            )
        return {}


def _unknown(party: Party, views: Sequence[NodeView]) -> str:
    """Return what there is to say of an agent or a node that nobody knows; of others nobody can know."""
    return unknown(party.name, views) if party.kind == "agent" or party.name.startswith(NODE) else ""
