"""The plain synchronous face of the tasks, for scripts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

from nova_torch import arguments
from nova_torch.communication.road import GONE_S
from nova_torch.events import Event
from nova_torch.orchestration.task_queue import AsyncTaskQueue
from nova_torch.plain import run
from nova_torch.tasks import TaskDetail, TaskRecord
from nova_torch.values import Priority

T = TypeVar("T")


class TaskQueue:
    """The tasks of the fleet, from a script without an event loop; see AsyncTaskQueue, method by method.

    >>> from nova_torch import TaskQueue
    >>> tasks = TaskQueue()
    >>> task = tasks.add('Fix the flaky login test', role='developer', skills=['python'], deadline_s=3600)
    >>> task.title, task.role, task.skills
    ('Fix the flaky login test', 'developer', ('python',))
    >>> tasks.cancel(task.id, 'it was a broken cable').state.value
    'cancelled'
    >>> [step.what for step in tasks.show(task.id).steps][-1]
    'cancelled'

    A skill that nobody has is named:

    >>> tasks.add('Translate the manual', skills=['latin'])
    Traceback (most recent call last):
        ...
    nova_torch.errors.NotFound: no agent has the skill latin. ...
    """

    def __init__(self, *, socket: str | None = None, gone_s: float = GONE_S) -> None:
        self._socket = socket
        self._gone_s = gone_s

    def add(
        self,
        title: str,
        *,
        body: str = "",
        role: str | None = None,
        skills: Sequence[str] = (),
        priority: str = Priority.NORMAL,
        deadline_s: float | None = None,
        depends_on: Sequence[str] = (),
        retries: int | None = None,
        anyway: bool = False,
        task_id: str | None = None,
        sender: str | None = None,
    ) -> TaskRecord:
        """Add a task and return it; see AsyncTaskQueue.add."""
        return self._run(
            lambda tasks: tasks.add(
                title,
                body=body,
                role=role,
                skills=skills,
                priority=priority,
                deadline_s=deadline_s,
                depends_on=depends_on,
                retries=retries,
                anyway=anyway,
                task_id=task_id,
                sender=sender,
            )
        )

    def list_tasks(
        self,
        *,
        role: str | None = None,
        agent: str | None = None,
        state: str | None = None,
        over: bool = False,
    ) -> list[TaskRecord]:
        """Return the open tasks that match, with `over` the others too; see AsyncTaskQueue.list_tasks."""
        return self._run(lambda tasks: tasks.list_tasks(role=role, agent=agent, state=state, over=over))

    def show(self, task_id: str) -> TaskDetail:
        """Return one task with its result, its history and its candidates."""
        return self._run(lambda tasks: tasks.show(task_id))

    def claim(self, task_id: str | None = None) -> TaskRecord:
        """Take a task for the agent in whose pane the script runs; see AsyncTaskQueue.claim."""
        return self._run(lambda tasks: tasks.claim(task_id))

    def update(
        self,
        task_id: str,
        *,
        note: str | None = None,
        progress: int | None = None,
        title: str | None = None,
        priority: str | None = None,
        deadline_s: float | None = None,
        depends_on: Sequence[str] | None = None,
    ) -> TaskRecord:
        """Say how far it is, or change what is asked for; see AsyncTaskQueue.update."""
        return self._run(
            lambda tasks: tasks.update(
                task_id,
                note=note,
                progress=progress,
                title=title,
                priority=priority,
                deadline_s=deadline_s,
                depends_on=depends_on,
            )
        )

    def done(self, task_id: str, result: str = "", *, artifacts: Sequence[str] = ()) -> TaskRecord:
        """End it well; see AsyncTaskQueue.done."""
        return self._run(lambda tasks: tasks.done(task_id, result, artifacts=artifacts))

    def fail(self, task_id: str, reason: str, *, final: bool = False) -> TaskRecord:
        """Give it back; see AsyncTaskQueue.fail."""
        return self._run(lambda tasks: tasks.fail(task_id, reason, final=final))

    def cancel(self, task_id: str, reason: str = "") -> TaskRecord:
        """End it without a result; the agent that has it is told."""
        return self._run(lambda tasks: tasks.cancel(task_id, reason))

    def reassign(self, task_id: str, to: str | None = None) -> TaskRecord:
        """Take it back and give it again; see AsyncTaskQueue.reassign."""
        return self._run(lambda tasks: tasks.reassign(task_id, to))

    def watch(
        self, handler: Callable[[Event], None], *, task_id: str | None = None, timeout_s: float | None = None
    ) -> None:
        """Call `handler` with each step as it happens: for `timeout_s` seconds, else until interrupted.

        What the handler raises ends it.
        """
        self._run(lambda tasks: _watch(tasks, handler, task_id, timeout_s))

    def _run(self, ask: Callable[[AsyncTaskQueue], Awaitable[T]]) -> T:
        async def once() -> T:
            async with AsyncTaskQueue(socket=self._socket, gone_s=self._gone_s) as tasks:
                return await ask(tasks)

        return run(once(), name="TaskQueue")


async def _watch(
    tasks: AsyncTaskQueue, handler: Callable[[Event], None], task_id: str | None, timeout_s: float | None
) -> None:
    limit = asyncio.timeout(arguments.seconds("timeout_s", timeout_s))
    try:
        async with limit, aclosing(tasks.watch(task_id)) as steps:
            async for step in steps:
                handler(step)
    except TimeoutError:
        if not limit.expired():
            raise
