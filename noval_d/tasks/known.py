"""What a node knows of the tasks of the fleet, and the one way to write a move."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from json import dumps

from nova_torch.broker import Broker, TaskMove
from nova_torch.broker.tasks import ANY
from nova_torch.errors import InvalidRequest
from nova_torch.values import NodeId
from noval_d.failpoints import failpoint
from noval_d.mailroom.seals import Seals, Unproven
from noval_d.tasks.copies import Copies
from noval_d.tasks.task import Status, Task, TaskId, fields, pack, unpack

log = logging.getLogger("nova.tasks")

RESTORED = "restored"
"""What happened to a task that was put back: the broker had lost it."""


class Known:
    """The open tasks and what they depend on, as they were read or written last."""

    def __init__(self, name: NodeId, seals: Seals, copies: Copies, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._name = name
        self._seals = seals
        self._copies = copies
        self.tasks: dict[TaskId, Task] = {}
        self.tallies: dict[str, dict[str, int]] = {}
        """By agent: how many of its tasks ended done and failed, and how many ms the done ones took."""
        self._forgotten: set[TaskId] = set()
        """What open tasks depend on and the broker has no longer: it was done, and is long over."""
        self.holding: dict[str, TaskId] = {}
        """By agent: the task that it has."""

    def __repr__(self) -> str:
        return f"<Known {len(self.tasks)} tasks, {len(self.holding)} held>"

    @property
    def open(self) -> list[Task]:
        """The tasks that are not over."""
        return [task for task in self.tasks.values() if not task.over]

    async def keep_open(self) -> None:
        """Keep what this node wrote of the open tasks, however long ago that was."""
        if names := [task.id for task in self.open]:
            await self._copies.keep_longer(names, self._now_ms())

    async def keep(self, task: Task, raw: bytes) -> None:
        """Keep a record that another node wrote: this one has done what follows from it."""
        await self._copies.keep(task, raw, self._now_ms())

    def held_here(self, since_ms: int) -> dict[TaskId, Task]:
        """Return the tasks that agents of this node had when it wrote of them last."""
        kept = (task for task, _ in self._copies.all(since_ms=since_ms))
        return {task.id: task for task in kept if task.status is Status.ASSIGNED and task.node == self._name}

    async def put_back(self, broker: Broker, *, since_ms: int) -> bool:
        """Put into the broker what this node wrote later than what is there; tell whether there was any."""
        kept = self._copies.all(since_ms=since_ms)
        there = await broker.task_ranks([task.id for task, _ in kept])
        later = [(task, raw) for task, raw in kept if task.rank > there.get(task.id, "")]
        for task, raw in later:
            await broker.put_task(self._move(task, raw, ANY, RESTORED))
        return bool(later)

    async def load(self, broker: Broker) -> None:
        """Read every open task anew."""
        self.tasks, self._forgotten = {}, set()
        self.take(await broker.open_tasks())
        await self.complete(broker)
        self.tallies = await broker.task_tallies()

    async def complete(self, broker: Broker) -> None:
        """Read what open tasks depend on and is not known; forget what is over and nothing depends on."""
        wanted = {name for task in self.open for name in task.depends_on}
        missing = wanted - self.tasks.keys() - self._forgotten
        found = await broker.tasks(sorted(missing))
        self.take(found)
        self._forgotten = (self._forgotten | (missing - found.keys())) & wanted
        for name in [name for name, task in self.tasks.items() if task.over and name not in wanted]:
            del self.tasks[name]

    def unsure(self, task: Task) -> bool:
        """Tell whether something that a task depends on was not read yet."""
        return any(name not in self.tasks and name not in self._forgotten for name in task.depends_on)

    def take(self, records: Mapping[str, bytes]) -> None:
        """Learn what can be read and is sealed."""
        self.learn(*(task for raw in records.values() if (task := self.read(raw)) is not None))

    def learn(self, *tasks: Task) -> None:
        """Know these tasks, unless a later record of them is known."""
        for task in tasks:
            known = self.tasks.get(task.id)
            if known is None or task.rank > known.rank:
                self.tasks[task.id] = task
        self.holding = {each.agent: each.id for each in self.tasks.values() if each.status is Status.ASSIGNED}

    def read(self, raw: bytes) -> Task | None:
        """Return the task of a record; None, which is logged, when it cannot be read or is not sealed."""
        try:
            task, signature = unpack(raw)
            told = {"target": task.agent, "named": task.id, "sender": task.creator}
            self._seals.check(signature, "task", *_signed(task), **told)
        except InvalidRequest as error:
            log.warning("tasks.unreadable", extra={"problem": error.message})
            return None
        except Unproven:
            return None
        return task

    async def write(
        self,
        broker: Broker,
        old: Task,
        new: Task,
        *,
        tally: Mapping[str, int] | None = None,
        graph: str | None = None,
        agent: str = "",
    ) -> bool:
        """Make a move, if `old` is still what it is; learn what it is otherwise. Durable when this returns True."""
        kept = self._copies.of(old.id)
        if kept is not None and kept[0].rank > old.rank:  # the broker lost it, which nobody has noticed yet
            await broker.put_task(self._move(*kept, ANY, RESTORED))
            self.learn(kept[0])
            return False
        raw = self._packed(new)
        move = self._move(new, raw, old.rank if old is not new else "", new.steps[-1].what)
        move = replace(move, tally=dict(tally or {}), graph=graph, agent=agent or new.agent)
        failpoint("task.before")
        made, there = await broker.put_task(move)
        failpoint("task.after")
        if made:
            self.learn(new)
            await self._copies.keep(new, raw, self._now_ms())
            return True
        if there:
            self.take({old.id: there})
        return False

    def _move(self, task: Task, raw: bytes, replaces: str, what: str) -> TaskMove:
        return TaskMove(
            id=task.id, replaces=replaces, rank=task.rank, raw=raw, over=task.over, what=what,
            agent=task.agent, node=self._name,
        )  # fmt: skip

    def _packed(self, task: Task) -> bytes:
        return pack(task, self._seals.sign("task", *_signed(task)))


def _signed(task: Task) -> tuple[object, ...]:
    """Return what a signature is over: everything, in a fixed order."""
    return (dumps(fields(task), sort_keys=True),)
