"""The tasks of the agents: for each its worker, and the feed of its API, also for those that come later."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from nova_torch.values import AgentId
from noval_d.agents.agent import Agent
from noval_d.agents.reports import Report
from noval_d.api.feed import Feed
from noval_d.delivery.worker import Worker
from noval_d.node.part import started

GRACE_S = 3.0  # for a message between paste and proof when the node stops; the ledger covers the rest


class Crew:
    """Runs the workers and the feeds, once `start` was called; `heard` takes what a feed reports."""

    def __init__(self, heard: Callable[[Agent, Report], Awaitable[None]]) -> None:
        self._heard = heard
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[AgentId, asyncio.Task[None]] = {}
        self._feeds: dict[AgentId, asyncio.Task[None]] = {}

    def start(self, group: asyncio.TaskGroup, workers: Iterable[Worker]) -> None:
        """Run `workers`, and from now on each new one, as tasks of `group`."""
        self._group = group
        for worker in workers:
            self.add(worker)

    def add(self, worker: Worker) -> None:
        """Run a new worker; before `start` it waits for that."""
        if self._group is None:
            return
        agent = worker.agent
        feed = Feed(agent, functools.partial(self._heard, agent), rests=worker.poster.rests)
        self._tasks[agent.id] = self._run(f"worker-{agent.id}", worker.run())
        self._feeds[agent.id] = self._run(f"feed-{agent.id}", feed.run())

    def _run(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        assert self._group is not None
        return started(self._group, name, work)

    def end(self, agent: AgentId) -> None:
        """End the tasks of an agent that was unregistered."""
        for tasks in (self._tasks, self._feeds):
            if (task := tasks.pop(agent, None)) is not None:
                task.cancel()

    async def stop(self, workers: Iterable[Worker]) -> None:
        """Let each bring what it types to its proof, but no longer than the grace time."""
        for worker in workers:
            worker.stop()
        running = [task for task in self._tasks.values() if not task.done()]
        if running:
            await asyncio.wait(running, timeout=GRACE_S)
        for task in (*running, *self._feeds.values()):
            task.cancel()
