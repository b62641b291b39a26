"""Answer the calls about agents: list, register, unregister, pause, resume."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgpack

from nova_torch.errors import (
    Conflict,
    InvalidRequest,
    PaneNotFound,
)
from nova_torch.fleet import Gathered, NodeView, presence
from nova_torch.packed import Packed, pack_list, pack_map
from nova_torch.policy import Party
from nova_torch.registry import PAGE, PAGE_MOST, Query, changes, find, page_of, why_none
from nova_torch.values import (
    AgentId,
    AgentRecord,
    AgentSpec,
    PaneId,
)
from noval_d.agents.agent import Agent
from noval_d.agents.finders.cursor_line import empty_line
from noval_d.agents.recognition import claimants, described, may_be_a_shell, script_of
from noval_d.calls.base import Base
from noval_d.control.args import Args
from noval_d.control.calls import Access, Peer
from noval_d.fleet.others import FRESH_S
from noval_d.fleet.watch import watched
from noval_d.life.wish import refuse_broken
from noval_d.node.node import Node
from noval_d.node.retire import claim, retire
from noval_d.tmux.front import read_front, read_name, read_starter
from noval_d.tmux.panes import PaneFacts, observe

PAGES_S = 5.0
"""Pages behind the first one may be this much older: they belong to one look."""


class Fleet(Base):
    """One method a call."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self._gathered = Gathered()

    async def agents(self, peer: Peer, args: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the agents of the fleet that match, by name; those of a node that is away are `lost`."""
        await self._refresh()
        return self._agent_rows(peer, self._found(await self._fleet_views(), query_of(Args(args))))

    async def agents_page(self, peer: Peer, args: Mapping[str, Any]) -> Packed:
        """Return the agents that match, page by page; of nobody the reason."""
        asked = Args(args)
        query, after = query_of(asked), asked.optional_text("after")
        if after is None:
            await self._refresh()
        views = await self._fleet_views(fresh_s=FRESH_S if after is None else PAGES_S)
        found = self._found(views, query)
        page, following = page_of(
            found,
            after=after,
            limit=asked.optional_integer("limit", least=1, most=PAGE_MOST) or PAGE,
        )
        why, cure = why_none(views, query) if query.narrows and not found else ("", "")
        told = {
            "agents": self._packed_rows(peer, page),
            "total": len(found),
            "next": following,
            "why": why,
            "cure": cure,
            "note": self._unseen,
        }
        return pack_map(told)

    async def agents_watch(self, peer: Peer, args: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Stream what happens to the agents that match: first everybody (`here`), then every change."""
        query = query_of(Args(args))
        node = self._node
        async with watched(node) as stirred:
            known = {str(record.agent_id): record for record in self._found(await self._fleet_views(), query)}
            for row in self._agent_rows(peer, list(known.values())):
                yield {"event": "here", **row}
            yield {"event": "watching", "agents": len(known)}
            async for _ in stirred:
                now = {
                    str(record.agent_id): record for record in self._found(await self._fleet_views(), query)
                }
                for change in changes(known, now):
                    yield change.to_json()
                known = now

    def _found(self, views: Sequence[NodeView], query: Query) -> Sequence[AgentRecord]:
        """Return the agents that match, to be read at once."""
        return find(views, query, self._gathered)

    def _agent_rows(self, peer: Peer, records: Sequence[AgentRecord]) -> list[dict[str, Any]]:
        seen = self._seen_by(peer)
        return [self._agent_row(record, seen) for record in records]

    def _agent_row(self, record: AgentRecord, seen: Mapping[AgentId, Agent]) -> dict[str, Any]:
        here = seen.get(record.agent_id)
        if here is None or record.node != self._node.name:
            return record.to_json()
        return {**record.to_json(), "shown": here.standing.shown}

    def _packed_rows(self, peer: Peer, records: Sequence[AgentRecord]) -> Packed:
        seen = self._seen_by(peer)
        return pack_list(
            [
                bytes(msgpack.packb(self._agent_row(one, seen))) if one.agent_id in seen else one.packed
                for one in records
            ]
        )

    def _seen_by(self, peer: Peer) -> Mapping[AgentId, Agent]:
        """Return the agents of this node whose panes a peer may see."""
        return self._node.roster.agents if peer.access >= Access.WRITE else {}

    async def presence(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the fleet knows of an agent, or of a node (`node:NAME`)."""
        name = Args(args).text("name")
        if (agent := self._node.roster.agents.get(AgentId(name))) is not None:
            await self._look(agent)
        return presence(name, await self._fleet_views()).to_json()

    async def register(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Make a pane an agent."""
        asked = Args(args)
        node = self._node
        pane = await self._pane(asked)
        front = read_front(pane.pid)
        starter = read_starter(front) if front is not None and front.pid == peer.pid else None
        if starter is not None:  # at a shell's prompt novactl itself is in front, and in a moment no more
            front, pane = starter, replace(pane, command=read_name(starter.pid) or pane.command)
        argv = front.argv if front is not None else ()
        if "#" in pane.command:
            raise InvalidRequest(
                f"the program in pane {pane.pane_id} is named {pane.command!r}, which tmux reads as a format.",
                "Start it under a name without '#'.",
            )
        refuse_broken(asked.optional_text("driver") or "", node.broken_drivers)
        name = asked.optional_text("driver") or self._driver_of(pane, argv)
        spec = AgentSpec(
            agent_id=AgentId(asked.text("agent_id")),
            role=asked.optional_text("role") or "",
            skills=asked.texts("skills"),
            driver=name,
            program=pane.command,
            script=script_of(pane.command, argv),
            empty=await self._empty_line(name, pane),
        )
        self._demand("adopt", peer, asked, Party(name=spec.agent_id, role=spec.role, node=node.name))
        if spec.agent_id not in node.roster.agents:
            node.draining.refuse(f"agent {spec.agent_id}")
        await self._refuse_foreign(spec.agent_id)
        node.lives.refuse(spec.agent_id, pane.pane_id)
        agent = await node.roster.register(spec, pane, node.tmux.client)
        await claim(node, agent.id)
        if starter is None:
            await self._look(agent)
        else:
            agent.front = starter
            if agent.facts is not None:  # the pane may have been looked at meanwhile, with novactl in front
                agent.facts = replace(agent.facts, command=pane.command)
            agent.restate()
        return self._record(agent)

    async def unregister(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Forget an agent; what was not typed fails, what may be typed is unconfirmed."""
        asked = Args(args)
        agent = await self._here_in(asked.text("agent_id"), "unregister")
        self._demand("stop", peer, asked, self._node.guard.party(agent.id))
        await self._node.lives.forget(agent.id)
        retired = await retire(self._node, agent.id, f"agent {agent.id} was unregistered")
        return {"agent_id": agent.id, "dropped": retired.failed}

    async def pause(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Hold an agent's messages."""
        asked = Args(args)
        self._demand("operate", peer, asked, self._node.guard.party(asked.text("agent_id")))
        agent = await self._here_in(asked.text("agent_id"), "pause")
        return self._record(await self._node.roster.pause(agent.id, True))

    async def resume(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Hold an agent's messages no longer."""
        asked = Args(args)
        self._demand("operate", peer, asked, self._node.guard.party(asked.text("agent_id")))
        known = await self._here_in(asked.text("agent_id"), "resume")
        agent = await self._node.roster.pause(known.id, False)
        await self._look(agent)
        return self._record(agent)

    async def _pane(self, asked: Args) -> PaneFacts:
        """Return the pane that register is about: %N, session:window[.pane], or the caller's own."""
        named = asked.optional_text("pane") or asked.optional_text("pane_env")
        if named is None:
            raise InvalidRequest("no pane is named.", "Give --pane %N, or --here inside the agent's pane.")
        if asked.optional_text("pane") is None and not self._same_server(asked.optional_text("tmux")):
            raise Conflict(
                "this pane is on another tmux server than the daemon serves.",
                f"The daemon serves {self._node.tmux.socket.path}; set NOVA_TMUX for it.",
            )
        client = self._node.tmux.client
        pane_id = named if named.startswith("%") else await self._target(named)
        seen = await observe(client, PaneId(pane_id), capture=False)
        if seen is None:
            raise PaneNotFound(f"there is no pane {named}.", "List them: tmux list-panes -a")
        if seen.facts.session == client.session:
            raise Conflict(f"pane {named} is the daemon's own.", "Name the pane of an agent.")
        return seen.facts

    async def _empty_line(self, name: str, pane: PaneFacts) -> str | None:
        """Return what the pane's empty input line looks like, for a driver that learns it. Refuses shells."""
        driver = self._node.roster.drivers.get(name)
        if driver is None or driver.strategy != "cursor_line":
            return None
        if not driver.commands and may_be_a_shell(pane.command):
            raise InvalidRequest(
                f"pane {pane.pane_id} runs {pane.command}, and the driver {name} never types into a shell.",
                "Start the program there first; for the shell itself: --driver line",
            )
        seen = await observe(self._node.tmux.client, pane.pane_id, capture=True)
        return empty_line(driver, seen.screen) if seen is not None and seen.screen is not None else None

    def _driver_of(self, pane: PaneFacts, argv: Sequence[str]) -> str:
        found = claimants(self._node.roster.drivers.values(), pane.command, argv)
        if len(found) == 1:
            return found[0]
        claimed = f"{' and '.join(found)} both claim" if found else "no driver claims"
        raise InvalidRequest(
            f"pane {pane.pane_id} runs {described(pane.command, argv)!r}, which {claimed}.",
            f"Say how it is typed into: --driver {'|'.join(sorted(self._node.roster.drivers))}",
        )


def query_of(asked: Args) -> Query:
    """Return who is looked for."""
    return Query(
        role=asked.optional_text("role"),
        skills=asked.texts("skills"),
        node=asked.optional_text("node"),
        labels=asked.texts("labels"),
        state=asked.optional_text("state"),
        free=asked.flag("free"),
    )
