"""The tasks of the workers: one for each agent, also for those that come while the node runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from nova_torch.values import AgentId
from noval_d.delivery.worker import Worker

GRACE_S = 3.0  # for a message between paste and proof when the node stops; the ledger covers the rest


class Crew:
    """Runs the workers, once `start` was called."""

    def __init__(self) -> None:
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[AgentId, asyncio.Task[None]] = {}

    def start(self, group: asyncio.TaskGroup, workers: Iterable[Worker]) -> None:
        """Run `workers`, and from now on each new one, as tasks of `group`."""
        self._group = group
        for worker in workers:
            self.add(worker)

    def add(self, worker: Worker) -> None:
        """Run a new worker; before `start` it waits for that."""
        if self._group is None:
            return
        name = f"worker-{worker.agent.id}"
        self._tasks[worker.agent.id] = self._group.create_task(worker.run(), name=name)

    def end(self, agent: AgentId) -> None:
        """End the task of an agent that was unregistered."""
        task = self._tasks.pop(agent, None)
        if task is not None:
            task.cancel()

    async def stop(self, workers: Iterable[Worker]) -> None:
        """Let each bring what it types to its proof, but no longer than the grace time."""
        for worker in workers:
            worker.stop()
        running = [task for task in self._tasks.values() if not task.done()]
        if running:
            await asyncio.wait(running, timeout=GRACE_S)
        for task in running:
            task.cancel()
