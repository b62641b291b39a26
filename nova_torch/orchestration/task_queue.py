"""The tasks of the fleet: add them, look at them, take and end them. Asks the daemon, as `novactl task` does."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Self

from nova_torch import arguments
from nova_torch.communication.listening import watch
from nova_torch.communication.road import GONE_S, Road
from nova_torch.errors import InvalidRequest
from nova_torch.events import Event, Filter
from nova_torch.tasks import TaskDetail, TaskRecord, TaskState
from nova_torch.ulid import new_ulid
from nova_torch.values import Priority

WHAT = "tasks are kept by daemons"


class AsyncTaskQueue:
    """The tasks of the fleet. Use it as `async with AsyncTaskQueue() as tasks:`.

    A task is work for some agent: an idle one with its role and skills gets it, again another when that one dies.
    Arguments and errors are those of AsyncNovaOrchestrator. Without a daemon there are none: DaemonUnreachable.
    A program that runs in an agent's pane is that agent: it may claim, and end only what it has. An unknown id
    raises TaskNotFound, a task that has moved on Conflict, and what is not the caller's to do NotAllowed.
    """

    def __init__(self, *, socket: str | None = None, gone_s: float = GONE_S) -> None:
        self._road = Road(socket=socket, gone_s=gone_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<AsyncTaskQueue {self._road!r}>"

    async def close(self) -> None:
        """Close the connection, if there is one."""
        await self._road.close()

    async def add(
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
        """Add a task and return it.

        `title` is one line, `body` all that its agent is to know. Only an agent of `role` with all `skills` gets
        it, for at most `deadline_s` seconds, and not before the tasks `depends_on` are done; `retries` is how often
        it is given again (configured: 3). `task_id` is a ULID of the caller's: added again with it, it is one task.

        Raises InvalidRequest, NotFound when nobody of the fleet could have it (it says which skill nobody has),
        unless `anyway`, and Busy when too many are open.
        """
        args = {
            "id": arguments.optional_text("task_id", task_id) or new_ulid(),
            "title": arguments.text("title", title),
            "body": arguments.text("body", body) or None,
            "role": arguments.optional_text("role", role),
            "skills": list(arguments.texts("skills", skills)),
            "priority": arguments.text("priority", priority),
            "deadline_s": arguments.seconds("deadline_s", deadline_s),
            "depends_on": list(arguments.texts("depends_on", depends_on)),
            "retries": arguments.whole("retries", retries, least=0),
            "anyway": bool(anyway),
            "sender": arguments.optional_text("sender", sender),
        }
        return TaskRecord.from_json(await self._call("task_add", args))

    async def list_tasks(
        self,
        *,
        role: str | None = None,
        agent: str | None = None,
        state: str | None = None,
        over: bool = False,
    ) -> list[TaskRecord]:
        """Return the open tasks in the order in which they are given, those that match all that is given.

        With `over` also the last 500 that are over; a `state` such as `done` says so by itself.
        """
        args = {
            "role": arguments.optional_text("role", role),
            "agent": arguments.optional_text("agent", agent),
            "state": None if state is None else _state(state).value,
            "all": bool(over),
        }
        return [TaskRecord.from_json(row) for row in await self._call("task_list", args)]

    async def show(self, task_id: str) -> TaskDetail:
        """Return one task with its result, all that happened to it, and which agents could have it."""
        return TaskDetail.from_json(await self._call("task_show", {"id": _id(task_id)}))

    async def claim(self, task_id: str | None = None) -> TaskRecord:
        """Take this task, or the first that fits, for the agent in whose pane the program runs; with its `body`.

        Raises NotAllowed when it runs in no agent's pane, Conflict when that agent has another task, AgentNotFound
        when no task waits that it could have.
        """
        args = {"id": None if task_id is None else _id(task_id)}
        return TaskRecord.from_json(await self._call("task_claim", args))

    async def update(
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
        """Say how far it is (`progress` 0 to 100, `note`), or change what is asked for.

        An empty `depends_on`: it waits for no other task any more.
        Raises InvalidRequest when nothing is given, and for a cycle, which is printed.
        """
        args: dict[str, Any] = {
            "id": _id(task_id),
            "note": arguments.optional_text("note", note),
            "progress": arguments.whole("progress", progress, least=0, most=100),
            "title": arguments.optional_text("title", title),
            "priority": arguments.optional_text("priority", priority),
            "deadline_s": arguments.seconds("deadline_s", deadline_s),
        }
        if depends_on is not None:
            args["depends_on"] = list(arguments.texts("depends_on", depends_on))
        return TaskRecord.from_json(await self._call("task_update", args))

    async def done(self, task_id: str, result: str = "", *, artifacts: Sequence[str] = ()) -> TaskRecord:
        """End it well; `artifacts` are paths or URLs of what came of it. Again with the same result is once."""
        args = {
            "id": _id(task_id),
            "result": arguments.text("result", result) or None,
            "artifacts": list(arguments.texts("artifacts", artifacts)),
        }
        return TaskRecord.from_json(await self._call("task_done", args))

    async def fail(self, task_id: str, reason: str, *, final: bool = False) -> TaskRecord:
        """Give it back: another agent gets it, unless it was given too often or is `final`."""
        args = {"id": _id(task_id), "reason": arguments.text("reason", reason), "final": bool(final)}
        return TaskRecord.from_json(await self._call("task_fail", args, again=False))

    async def cancel(self, task_id: str, reason: str = "") -> TaskRecord:
        """End it without a result; the agent that has it is told."""
        args = {"id": _id(task_id), "reason": arguments.text("reason", reason) or None}
        return TaskRecord.from_json(await self._call("task_cancel", args, again=False))

    async def reassign(self, task_id: str, to: str | None = None) -> TaskRecord:
        """Take it back and give it again, to the agent `to` or to anybody; one that failed is opened again."""
        args = {"id": _id(task_id), "to": arguments.optional_text("to", to)}
        return TaskRecord.from_json(await self._call("task_reassign", args, again=False))

    async def watch(self, task_id: str | None = None) -> AsyncGenerator[Event, None]:
        """Yield each step of every task, or of one, as it happens (`task.done`, …), until the daemon ends.

        `event.task` is the task's id, `event.fields["title"]` its title. Raises Lagged when the caller reads too
        slowly.
        """
        wanted = None if task_id is None else _id(task_id)
        async with aclosing(watch(self._road, Filter())) as events:
            async for event in events:
                if event is not None and event.event.startswith("task.") and wanted in (None, event.task):
                    yield event

    async def _call(self, name: str, args: dict[str, Any], *, again: bool = True) -> Any:
        given = {key: value for key, value in args.items() if value is not None}
        return await self._road.call(name, given, what=WHAT, caller=True, again=again)


def _id(task_id: object) -> str:
    return (arguments.optional_text("task_id", task_id) or "").upper()


def _state(state: str) -> TaskState:
    try:
        return TaskState(state)
    except ValueError:
        raise InvalidRequest(
            f"{state!r} is no state of a task.", f"One of: {', '.join(TaskState)}."
        ) from None
