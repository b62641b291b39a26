"""Answer the calls about agents: list, register, unregister, pause, resume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nova_torch.errors import (
    Conflict,
    InvalidRequest,
    PaneNotFound,
)
from nova_torch.fleet import NodeView, presence
from nova_torch.values import (
    AgentId,
    AgentSpec,
    PaneId,
)
from noval_d.agents.finders.cursor_line import empty_line
from noval_d.agents.recognition import claimants, described, may_be_a_shell, script_of
from noval_d.calls.base import Base
from noval_d.control.args import Args
from noval_d.control.calls import Access, Peer
from noval_d.life.wish import refuse_broken
from noval_d.node.retire import claim, retire
from noval_d.tmux.front import read_front
from noval_d.tmux.panes import PaneFacts, observe


class Fleet(Base):
    """One method a call."""

    async def agents(self, peer: Peer, args: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the agents of the fleet that match."""
        asked = Args(args)
        role, node, state = (asked.optional_text(name) for name in ("role", "node", "state"))
        skills = set(asked.texts("skills"))
        await self._refresh()
        found = [
            record
            for record in [*self._local(shown=peer.access >= Access.WRITE), *await self._elsewhere()]
            if (role is None or record["role"] == role)
            and (node is None or record["node"] == node)
            and (state is None or record["state"] == state)
            and skills <= set(record["skills"])
        ]
        return sorted(found, key=lambda record: str(record["agent_id"]))

    async def presence(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the fleet knows of an agent, or of a node (`node:NAME`)."""
        name = Args(args).text("name")
        node = self._node
        if (agent := node.roster.agents.get(AgentId(name))) is not None:
            await self._look(agent)
        here = NodeView(
            node=node.name, alive=True, last_seen_ms=node.clock_ms(), agents=tuple(node.roster.records())
        )
        return presence(name, [here, *await self._views()]).to_json()

    async def register(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Make a pane an agent."""
        asked = Args(args)
        node = self._node
        pane = await self._pane(asked)
        front = read_front(pane.pid)
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
        await self._refuse_foreign(spec.agent_id)
        node.lives.refuse(spec.agent_id, pane.pane_id)
        agent = await node.roster.register(spec, pane, node.tmux.client)
        await claim(node, agent.id)
        await self._look(agent)
        return self._record(agent)

    async def unregister(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Forget an agent; what was not typed fails, what may be typed is unconfirmed."""
        agent = self._node.roster.get(Args(args).text("agent_id"))
        await self._node.lives.forget(agent.id)
        retired = await retire(self._node, agent.id, f"agent {agent.id} was unregistered")
        return {"agent_id": agent.id, "dropped": retired.failed}

    async def pause(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Hold an agent's messages."""
        return self._record(await self._node.roster.pause(Args(args).text("agent_id"), True))

    async def resume(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Hold an agent's messages no longer."""
        agent = await self._node.roster.pause(Args(args).text("agent_id"), False)
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
