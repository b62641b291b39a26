"""What tasks wait for each other: what holds one back, and that nothing waits for itself. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from nova_torch.errors import InvalidRequest
from noval_d.tasks.task import Status, Task, TaskId

Find = Callable[[TaskId], Task | None]


def held_by(task: Task, find: Find) -> list[tuple[TaskId, str]]:
    """Return the tasks that this one still waits for, each with what is to be said of it; none: it is ready.

    One that is known no longer ended well: only those are forgotten that nothing waits for.
    """
    found: list[tuple[TaskId, str]] = []
    for name in task.depends_on:
        other = find(name)
        if other is not None and other.status is not Status.DONE:
            found.append((name, other.status.value))
    return found


def blocked_by(task: Task, find: Find) -> list[TaskId]:
    """Return those of them that ended without being done: the task waits until they are opened again."""
    ended = (Status.FAILED.value, Status.CANCELLED.value)
    return [name for name, status in held_by(task, find) if status in ended]


def refuse_cycle(edges: Mapping[TaskId, Iterable[TaskId]]) -> None:
    """Raise InvalidRequest, with the way around, when tasks depend on themselves.

    `edges`: task to what it depends on.
    """
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        around = " -> ".join(reversed(error.args[1]))
        raise InvalidRequest(
            f"these tasks would wait for each other: {around}.", "Leave one of these dependencies out."
        ) from None


def standing(task: Task, find: Find) -> tuple[str, str]:
    """Return the state of a task as people see it, and why."""
    if task.status is not Status.QUEUED:
        return task.status.value, task.note if not task.over else task.steps[-1].reason if task.steps else ""
    ended = blocked_by(task, find)
    if ended:
        return "blocked", f"it depends on {', '.join(ended)}, which ended without being done"
    held = held_by(task, find)
    if held:
        return "waiting", f"it depends on {', '.join(name for name, _ in held)}"
    return "ready", "it waits for an idle agent that fits" if not task.wanted else f"for {task.wanted}"
