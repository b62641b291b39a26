"""What every call needs: who asks from which pane, what is known of the agents here and elsewhere."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

from nova_torch.errors import (
    BrokerUnavailable,
    Conflict,
    TmuxUnavailable,
)
from nova_torch.fleet import NodeView, read_blob
from noval_d.agents.agent import Agent
from noval_d.control.args import Args
from noval_d.node.node import Node

log = logging.getLogger("nova.answers")
STALE_S = 1.0  # what an agent does is looked up anew when the last look is older than this
REFRESH_S = 0.5


class Base:
    """The node, and what several calls ask of it."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def _agent_of(self, asked: Args) -> Agent | None:
        """Return the agent in whose pane the caller runs, if any."""
        pane = asked.optional_text("pane")
        if pane is None or not self._same_server(asked.optional_text("tmux")):
            return None
        return self._node.roster.of_pane(pane)

    def _same_server(self, tmux: str | None) -> bool:
        """Tell whether the caller's $TMUX (socket,pid,session) is the server of this node."""
        if not tmux:
            return True
        return os.path.realpath(tmux.split(",", 1)[0]) == os.path.realpath(self._node.tmux.socket.path)

    async def _target(self, target: str) -> str:
        """Return the pane id of `session:window[.pane]`."""
        from noval_d.tmux.admin import resolve_target  # libtmux: only who names a window pays for it

        return await resolve_target(self._node.tmux.socket, target)

    def _record(self, agent: Agent) -> dict[str, Any]:
        return self._node.roster.record(agent, self._node.roster.workers[agent.id].in_hand).to_json()

    def _local(self, *, shown: bool = False) -> list[dict[str, Any]]:
        """Return the agents of this node; with `shown` also what their panes show of their states."""
        agents = self._node.roster.agents.values()
        return [
            {**self._record(agent), **({"shown": agent.standing.shown} if shown else {})} for agent in agents
        ]

    async def _views(self) -> list[NodeView]:
        """Return the other nodes, as they last beat; none while the broker is down."""
        broker = self._node.broker.broker
        if broker is None:
            return []
        try:
            leases = await broker.nodes()
        except BrokerUnavailable as error:
            self._node.broker.failed(error)
            return []
        found: list[NodeView] = []
        for lease in leases:
            if lease.node == self._node.name:
                continue
            view = read_blob(lease.node, lease.blob, alive=lease.alive)
            if view is None:
                log.warning("answers.unreadable_node", extra={"node": lease.node})
            else:
                found.append(view)
        return found

    async def _elsewhere(self) -> list[dict[str, Any]]:
        """Return the agents of the other live nodes, as they last beat; none while the broker is down."""
        return [record.to_json() for view in await self._views() if view.alive for record in view.agents]

    async def _refuse_foreign(self, agent_id: str) -> None:
        """Raise Conflict when another node has an agent of this name."""
        for record in await self._elsewhere():
            if record["agent_id"] == agent_id:
                raise Conflict(
                    f"agent {agent_id} is registered on node {record['node']}.", "Unregister it there first."
                )

    async def _refresh(self) -> None:
        """Look again at agents that were not looked at lately; a tmux that is slow does not hold the answer."""
        now = self._node.clock()
        try:
            async with asyncio.timeout(REFRESH_S):
                for agent in list(self._node.roster.agents.values()):
                    if now - agent.looked_at > STALE_S:
                        await self._look(agent)
        except TimeoutError:
            log.info("answers.refresh_cut_short")

    async def _look(self, agent: Agent) -> None:
        if agent.facts is None or self._node.tmux.state == "not_answering":
            return
        try:
            await agent.view(self._node.tmux.client)
        except TmuxUnavailable:
            self._node.tmux.answered(well=False)
