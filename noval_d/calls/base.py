"""What every call needs: who asks from which pane, what is known of the agents here and elsewhere."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from nova_torch.errors import Conflict, NotFound, TmuxUnavailable
from nova_torch.fleet import NodeView, everybody, presence
from nova_torch.policy import Party
from nova_torch.values import AgentId, AgentRecord
from noval_d.agents.agent import Agent
from noval_d.calls.people import person
from noval_d.control.args import Args
from noval_d.control.calls import Peer
from noval_d.fleet.card import card, mine
from noval_d.fleet.others import FRESH_S, SIGNING_FRESH_S, read_order
from noval_d.node.node import Node

log = logging.getLogger("nova.answers")
STALE_S = 1.0  # what an agent does is looked up anew when the last look is older than this
REFRESH_S = 0.5
UNSEEN = "the broker is down: only this node is seen."


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

    def _caller(self, peer: Peer, asked: Args) -> str:
        """Return who calls: the agent in whose pane, by the kernel's word or the caller's own, else the person."""
        behind = self._node.guard.agent_behind(peer.pid)
        agent = None if behind else self._agent_of(asked)
        return behind or (agent.id if agent is not None else person(peer))

    def _demand(self, action: str, peer: Peer, asked: Args, to: Party) -> None:
        """Raise NotAllowed when the policy denies the caller an action; without rules about it nobody is asked."""
        if self._node.guard.policy.about(action):
            self._node.guard.demand(action, self._caller(peer, asked), to)

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

    def _here(self) -> NodeView:
        """Return this node as it is now."""
        node = self._node
        ordered = node.others.ordered
        return NodeView(
            node=node.name,
            alive=True,
            last_seen_ms=node.clock_ms(),
            agents=tuple(mine(node)),
            card=card(node),
            order="" if ordered == node.draining.done else read_order(ordered)[0],
        )

    async def _fleet_views(self, *, fresh_s: float = FRESH_S) -> list[NodeView]:
        """Return every node, this one as it is now; only this one while the broker is down."""
        others = await self._node.others.views(fresh_s=fresh_s)
        return sorted([self._here(), *others], key=lambda view: view.node)

    @property
    def _unseen(self) -> str:
        """What is to be said of a sight of the fleet that lacks the other nodes; empty: it lacks none."""
        return "" if self._node.broker.broker is not None else UNSEEN

    @contextmanager
    def _as_far_as_seen(self) -> Iterator[None]:
        """Say of what is not found that it may be on a node that is not seen now."""
        try:
            yield
        except NotFound as error:
            if self._unseen:
                error.message = f"{error.message.rstrip('.')}, and {UNSEEN}"
            raise

    async def _elsewhere(self) -> list[AgentRecord]:
        """Return the agents of the other live nodes, as they last told; none while the broker is down."""
        return everybody(view for view in await self._node.others.views() if view.alive)

    async def _names_elsewhere(self) -> frozenset[AgentId]:
        """Return the agents of the other live nodes; while the broker is down those that were there last.

        So a message for one of them is accepted all the same: it waits in the outbox.
        """
        await self._node.others.views()
        return self._node.others.names

    async def _here_in(self, name: str, command: str) -> Agent:
        """Return an agent of this node. Raises Conflict with the node that has it, AgentNotFound."""
        if name not in self._node.roster.agents:
            for record in await self._elsewhere():
                if record.agent_id == name:
                    raise Conflict(
                        f"agent {name} is on node {record.node}.", f"There: novactl {command} {name}"
                    )
        return self._node.roster.get(name)

    async def _refuse_foreign(self, agent_id: str) -> None:
        """Raise Conflict when another node has an agent of this name."""
        for record in await self._elsewhere():
            if record.agent_id == agent_id:
                raise Conflict(
                    f"agent {agent_id} is registered on node {record.node}.", "Unregister it there first."
                )

    async def _refresh(self) -> None:
        """Look again at agents that were not looked at lately; a tmux that is slow does not hold the answer."""
        now = self._node.clock()
        try:
            async with asyncio.timeout(REFRESH_S):
                for agent in list(self._node.roster.agents.values()):
                    if now - agent.looked_at > STALE_S:
                        await self._look(agent)
                if not self._node.guard.seals.signs:
                    await self._node.others.views(fresh_s=SIGNING_FRESH_S)  # whether anybody demands a key
        except TimeoutError:
            log.info("answers.refresh_cut_short")

    async def _look(self, agent: Agent) -> None:
        if agent.facts is None or self._node.tmux.state == "not_answering":
            return
        try:
            await agent.view(self._node.tmux.client)
        except TmuxUnavailable:
            self._node.tmux.answered(well=False)


def unknown(name: str, views: Sequence[NodeView]) -> str:
    """Return that no agent, or no node (`node:NAME`), is called so, and the nearest name; empty when one is."""
    try:
        presence(name, views)
    except NotFound as error:
        return f"{error.message} {error.hint}"
    return ""
