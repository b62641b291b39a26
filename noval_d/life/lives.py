"""The lives of this node's spawned agents: one keeper each, and the orders that people give."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nova_torch.errors import Conflict, NotOwner, ShuttingDown
from nova_torch.values import AgentId, AgentSpec
from noval_d.fleet.taken import let_go
from noval_d.life.asked import Asked
from noval_d.life.book import Book
from noval_d.life.goahead import GoAhead
from noval_d.life.keeper import Keeper
from noval_d.life.plan import Life, Plan
from noval_d.life.starter import Starter
from noval_d.node.retire import claim

if TYPE_CHECKING:
    from noval_d.node.node import Node

log = logging.getLogger("nova.life")


class Lives:
    """Every spawned agent of the node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._book = Book(node.store)
        self._goahead = GoAhead(Path(node.config.state.dir) / "starts")
        self._starter = Starter(node, self._goahead)
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[AgentId, asyncio.Task[None]] = {}
        self._coming: set[AgentId] = set()
        self._spawning: set[asyncio.Task[Keeper]] = set()
        self.keepers: dict[AgentId, Keeper] = {}

    def __repr__(self) -> str:
        return f"<Lives {len(self.keepers)} agents>"

    async def load(self) -> None:
        """Bring the lives back that the state file remembers. Call it after the roster's own."""
        self._goahead.sweep()
        for life in self._book.read():
            agent = self._node.roster.agents.get(life.agent)
            if agent is None:  # the daemon died as it forgot it
                await self._book.erase(life.agent)
                continue
            self.keepers[life.agent] = Keeper(self._node, self._book, self._starter, agent, life)

    def start(self, group: asyncio.TaskGroup) -> None:
        """Let every keeper go on, as tasks of `group`."""
        self._group = group
        for keeper in self.keepers.values():
            self._run(keeper)

    def stop(self) -> None:
        """Let go of every agent; they run on."""
        self._group = None
        for task in (*self._tasks.values(), *self._spawning):
            task.cancel()

    async def spawn(self, spec: AgentSpec, plan: Plan) -> Keeper:
        """Start an agent; return when its program runs in its window. Goes on when its caller goes.

        Raises Conflict, InvalidRequest, NotFound, TmuxUnavailable, StoreFailed; nothing is left of it then.
        """
        work = asyncio.create_task(self._spawn(spec, plan), name=f"spawn-{spec.agent_id}")
        self._spawning.add(work)
        work.add_done_callback(self._spawned)
        return await asyncio.shield(work)

    def _spawned(self, work: asyncio.Task[Keeper]) -> None:
        self._spawning.discard(work)
        if not work.cancelled() and (error := work.exception()) is not None:
            log.info("life.not_spawned", extra={"problem": str(error)})

    async def _spawn(self, spec: AgentSpec, plan: Plan) -> Keeper:
        if self._group is None:
            raise ShuttingDown("the daemon is stopping and starts nothing.", "Again in a moment.")
        if spec.agent_id in self._coming:
            raise Conflict(f"agent {spec.agent_id} is being started already.", "Take another --id.")
        self._coming.add(spec.agent_id)
        try:
            life = Life(agent=spec.agent_id, plan=plan)
            along = [Book.entry(life)]
            if plan.ask:
                along.append(Asked.entry(plan.ask, spec.agent_id, self._node.clock_ms()))
            agent = await self._node.roster.expect(spec, *along)
            keeper = Keeper(self._node, self._book, self._starter, agent, life)
            keeper.by_order = True
            keeper.started = started = asyncio.get_running_loop().create_future()
            self.keepers[agent.id] = keeper
            try:
                await claim(self._node, agent.id)
            except NotOwner:  # another node began with an agent of this name at the same time
                await self._unmake(keeper)
                raise
            self._run(keeper)
        finally:
            self._coming.discard(spec.agent_id)
        await started
        return keeper

    async def _unmake(self, keeper: Keeper) -> None:
        """Leave nothing of a spawn whose name is another node's: what came for it meanwhile goes there."""
        agent = keeper.agent
        del self.keepers[agent.id]
        await let_go(self._node, agent.id)
        await self._node.roster.unregister(agent.id, None)
        self._node.crew.end(agent.id)
        self._node.broker.claims.forget(agent.id)
        await self._book.erase(agent.id)

    def get(self, agent_id: str) -> Keeper:
        """Return the keeper of an agent. Raises AgentNotFound, and Conflict for one that was not spawned."""
        agent = self._node.roster.get(agent_id)
        keeper = self.keepers.get(agent.id)
        if keeper is None:
            raise Conflict(
                f"agent {agent.id} was registered, not spawned: its program is not this node's to end or start.",
                f"Forget it: novactl unregister {agent.id}",
            )
        return keeper

    async def stop_agent(self, agent_id: str, *, force: bool) -> Mapping[str, Any]:
        """Stop an agent for good; return what became of it."""
        return await asyncio.shield(self.get(agent_id).order(stop=True, force=force))

    async def restart(self, agent_id: str, *, force: bool) -> Mapping[str, Any]:
        """End an agent's program and have it started again; return how it ended."""
        return await asyncio.shield(self.get(agent_id).order(stop=False, force=force))

    def refuse(self, agent_id: str, pane: str) -> None:
        """Raise Conflict when an agent that lives here is about to be moved to another pane by hand."""
        keeper = self.keepers.get(AgentId(agent_id))
        if keeper is not None and keeper.life.pane != pane:
            raise Conflict(
                f"agent {agent_id} was spawned and has a pane of its own.", f"First: novactl stop {agent_id}"
            )

    def heard(self, agent: AgentId) -> None:
        """A hook of this agent reported."""
        keeper = self.keepers.get(agent)
        if keeper is not None:
            keeper.look()

    async def forget(self, agent: AgentId) -> None:
        """Leave an agent to itself: its program goes on, and nobody starts it again."""
        keeper = self.keepers.pop(agent, None)
        task = self._tasks.pop(agent, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        if keeper is not None:
            keeper.agent.kept = False
            await self._book.erase(agent)

    def _run(self, keeper: Keeper) -> None:
        if self._group is None:
            raise ShuttingDown("the daemon is stopping.", "It goes on with this agent when it starts again.")
        name = keeper.life.agent
        task = self._group.create_task(keeper.run(), name=f"life-{name}")
        self._tasks[name] = task
        task.add_done_callback(lambda done: self._over(name, keeper, done))

    def _over(self, name: AgentId, keeper: Keeper, task: asyncio.Task[None]) -> None:
        if self._tasks.get(name) is task:
            del self._tasks[name]
        if self.keepers.get(name) is keeper and not task.cancelled():
            del self.keepers[name]
