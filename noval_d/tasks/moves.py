"""The moves that people and agents make: each from whatever the task is by then, again if somebody was quicker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from itertools import chain

from nova_torch.broker import Broker
from nova_torch.errors import BrokerUnavailable, Conflict, TaskNotFound
from noval_d.tasks.assign import Candidate
from noval_d.tasks.graph import refuse_cycle
from noval_d.tasks.ground import Ground
from noval_d.tasks.known import Known
from noval_d.tasks.task import Status, Task, TaskId, new_task

TRIES = 8

Make = Callable[[Task], Task]


class Moves:
    """What calls ask of the tasks. Methods raise BrokerUnavailable and StoreFailed."""

    def __init__(self, ground: Ground, known: Known, moved: Callable[[], None]) -> None:
        self._ground = ground
        self._known = known
        self._moved = moved
        self.giving = asyncio.Lock()
        """Held by whoever gives a task to an agent of this node, since it saw that the agent has none."""

    def __repr__(self) -> str:
        return f"<Moves {self._known!r}>"

    def broker(self) -> Broker:
        """Return the broker. Raises BrokerUnavailable, with what that means for tasks."""
        broker = self._ground.link.broker
        if broker is None:
            raise BrokerUnavailable(
                f"the broker, which keeps the tasks, does not answer: {self._ground.link.problem}",
                "Nothing was changed. Do it again when novactl status says that the broker is up.",
            )
        return broker

    async def candidates(self) -> list[Candidate]:
        """Return every agent of the fleet that lives."""
        here = [mine.candidate for mine in self._ground.mine(self._known.tallies).values()]
        return [*here, *(await self._ground.others(self._known.tallies))]

    async def add(self, task: Task) -> Task:
        """Add a task; the same id again is the same task. Raises Conflict, BrokerUnavailable, StoreFailed."""
        task = new_task(task)
        broker = self.broker()
        if await self._known.write(broker, task, task):
            self._moved()
            return task
        known = await self.get(task.id)
        if (known.title, known.body, known.creator) != (task.title, task.body, task.creator):
            raise Conflict(
                f"the id {task.id} belongs to another task.", "Leave --id away, or give a new ULID."
            )
        return known

    async def get(self, name: str) -> Task:
        """Return a task as the broker has it. Raises TaskNotFound, BrokerUnavailable."""
        raw = (await self.broker().tasks([name])).get(name)
        task = self._known.read(raw) if raw else None
        if task is None:
            raise TaskNotFound(f"no task {name[:40]} is known.", "See them all: novactl task list --all")
        return task

    async def named(self, names: Iterable[str]) -> dict[TaskId, Task]:
        """Return these tasks, as far as they are known."""
        found = await self.broker().tasks(list(names))
        tasks = [task for raw in found.values() if (task := self._known.read(raw)) is not None]
        return {task.id: task for task in tasks}

    async def all(self, *, over: int = 0) -> list[Task]:
        """Return the open tasks of the fleet, and the last `over` ones that ended."""
        broker = self.broker()
        found = await broker.open_tasks()
        if over:
            found |= await broker.tasks(await broker.ended_tasks(over))
        tasks = [task for raw in found.values() if (task := self._known.read(raw)) is not None]
        return sorted(tasks, key=lambda task: (task.over, task.place))

    async def change(
        self, name: str, make: Make, *, tally: Callable[[Task], Mapping[str, int]] = lambda _task: {}
    ) -> tuple[Task, Task]:
        """Make a move from whatever the task is now; return it before and after.

        Raises what `make` raises, TaskNotFound, BrokerUnavailable, StoreFailed, Conflict.
        """
        for _ in range(TRIES):
            old = await self.get(name)
            new = make(old)
            if await self._known.write(
                self.broker(), old, new, tally=tally(old), agent=old.agent or new.agent
            ):
                self._moved()
                return old, new
        raise Conflict(f"task {name} is being moved by others.", "Try again.")

    async def rewire(self, name: str, depends_on: tuple[TaskId, ...], *, now_ms: int, by: str) -> Task:
        """Change what a task depends on. Raises InvalidRequest with the cycle that this would make."""
        for _ in range(TRIES):
            broker = self.broker()
            graph = await broker.task_graph()
            old = await self.get(name)
            refuse_cycle({**await self._edges(depends_on), old.id: depends_on})
            new = old.edited(now_ms=now_ms, by=by, depends_on=depends_on)
            if await self._known.write(broker, old, new, graph=graph):
                self._moved()
                return new
        raise Conflict(f"task {name} is being moved by others.", "Try again.")

    async def _edges(self, more: Iterable[TaskId]) -> dict[TaskId, tuple[TaskId, ...]]:
        """Return what the open tasks depend on, and what those that may be opened again do which they wait for."""
        edges = {task.id: task.depends_on for task in await self.all()}
        asked = set(edges)
        while missing := {*more, *chain.from_iterable(edges.values())} - asked:
            asked |= missing
            found = await self.named(sorted(missing))
            edges |= {task.id: task.depends_on for task in found.values() if task.status is not Status.DONE}
        return edges

    def life_of(self, agent: str) -> str:
        """Return which life of an agent of this node it is; empty: it is none, or its pane is not to be seen."""
        mine = self._ground.mine(self._known.tallies).get(agent)
        return mine.life if mine is not None else ""
