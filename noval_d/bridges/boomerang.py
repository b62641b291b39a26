"""Read and write the operations of central task management ("Boomerang"). Pure.

A task comes in as `create_task` with an assignee, or by an `update_task` that changes the assignee; `update_task`,
`complete_task` and the events `task_updated` and `task_completed` go back. What else others say of tasks is theirs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from nova_torch.bridging import Boomerang
from nova_torch.values import DELIVERED, UNDELIVERED, Kind, State
from noval_d.bridges.decode import MARK, OURS, priority_of, read_fields, word
from noval_d.bridges.draft import Change, Draft, Ignored, Origin, Outward, Query, Refusal, Task
from noval_d.bridges.encode import Telling

OPERATION = ("operation", "op", "action", "type")
ENVELOPE = ("params", "task", "data", "payload", "args")
"""Fields that may hold the rest as JSON."""
CREATE, UPDATE, COMPLETE = "create_task", "update_task", "complete_task"
GET, LIST = QUERIES = ("get_task", "list_tasks")
OTHERS = frozenset({COMPLETE, "task_updated", "task_completed"})
CANCELLED = "cancelled"
DIALECT = "boomerang"


def decode_task(pairs: Sequence[tuple[bytes, bytes]], entry: str, *, most_bytes: int) -> Task:
    """Return what an entry is: a task as a draft whose id is the task's, a change, a query, or why it is none."""
    fields = read_fields(pairs, most_bytes=most_bytes)
    if isinstance(fields, Refusal):
        return fields
    if MARK in fields:
        return OURS
    operation = operation_of(fields)
    if operation not in (CREATE, UPDATE, *QUERIES):
        if operation in OTHERS:
            return Ignored(reason=f"{operation[:40]} of another")
        return Refusal(reason=f"the operation is {operation[:40]!r}, not {CREATE}")
    merged = opened(fields)
    if isinstance(merged, Refusal):
        return merged
    if operation in QUERIES:
        return Query(operation=operation, asked=merged, correlation=_correlation(merged))
    if operation == UPDATE:
        return _change(merged)
    if not merged.get("assignee"):
        return Ignored(reason="a task without assignee")
    return draft_of(merged, entry)


def operation_of(fields: Mapping[str, Any]) -> str:
    """Return the operation of an entry, or the type of an event."""
    return next((word(fields[name]) for name in OPERATION if fields.get(name)), "")


def opened(fields: Mapping[str, Any]) -> dict[str, Any] | Refusal:
    """Return the fields with those that stand as JSON in one of them, which count more."""
    merged = dict(fields)
    for name in ENVELOPE:
        inner = _json(fields.get(name))
        if isinstance(inner, Refusal):
            return inner
        if isinstance(inner, Mapping):
            merged = {**merged, **{str(key): value for key, value in inner.items()}}
    return merged


def draft_of(merged: Mapping[str, Any], entry: str, *, before: str = "") -> Draft | Refusal:
    """Return the message of a task; `before`: who had it until now."""
    title = merged.get("title")
    if not isinstance(title, str) or not title.strip():
        return Refusal(reason="the task has no title")
    body = _body(title, merged)
    return Draft(
        body=f"{body}\n\nUntil now it was {before}'s." if before else body,
        sender=_sender(merged),
        target=word(merged.get("assignee")),
        correlation=_correlation(merged),
        priority=priority_of(merged.get("priority")),
        kind=Kind.TASK,
        id=task_id_of(merged, entry),
        task=task_id_of(merged, entry),
    )


def task_id_of(merged: Mapping[str, Any], entry: str) -> str:
    """Return the id of a task that is created: its own, else that of its entry."""
    return word(merged.get("task_id") or merged.get("id")) or entry


def notice_of(asked: Mapping[str, Any], title: str, change: Change, message: str) -> Draft:
    """Return what the agent is told that had a task until now: nothing is asked for, and nothing told back.

    `message` is the one that gave it the task. The notice has its priority, so that it comes behind it.
    """
    if change.cancelled:
        what = "is cancelled"
    else:
        what = f"was given to {change.assignee}" if change.assignee else "was taken back"
    return Draft(
        body=f"The task {change.task} ({' '.join(title.split())[:200]}) {what}: do no more for it.",
        sender=change.sender,
        priority=priority_of(asked.get("priority")),
        id=change.task,
        asks=False,
        answers=True,
        task=change.task,
        takes_back=message,
    )


def _change(merged: Mapping[str, Any]) -> Change | Ignored | Refusal:
    cancelled = word(merged.get("status")).lower() == CANCELLED
    if not cancelled and "assignee" not in merged:
        return Ignored(reason=f"{UPDATE} of another")
    task = word(merged.get("task_id") or merged.get("id"))
    if not task:
        return Refusal(reason="the operation names no task_id")
    assignee = "" if cancelled else word(merged.get("assignee"))
    return Change(task=task, assignee=assignee, cancelled=cancelled, sender=_sender(merged))


def _sender(merged: Mapping[str, Any]) -> str:
    return word(merged.get("_source") or merged.get("created_by") or merged.get("sender"))


def _correlation(merged: Mapping[str, Any]) -> str:
    return word(merged.get("_trace_id") or merged.get("correlation_id"))


def encode_task(config: Boomerang, origin: Origin, telling: Telling) -> list[Outward]:
    """Return the operation and the event that tell of what became of a task."""
    base = {"_timestamp": str(telling.at_ms), "_source": telling.agent, "_trace_id": origin.correlation}
    if telling.body is not None:
        status, kind = "completed", "task_completed"
        operation = {
            "operation": COMPLETE,
            "task_id": origin.entry,
            "result": telling.body,
            "artifacts": "[]",
        }
    else:
        status, kind = ("blocked" if telling.state in UNDELIVERED else "in_progress"), "task_updated"
        operation = {"operation": UPDATE, "task_id": origin.entry, "status": status}
    details = {
        "status": status,
        "assignee": telling.agent,
        "result": telling.body or "",
        "reason": "" if telling.body is not None else telling.reason,
        "message_id": telling.message,
        "state": telling.state,
    }
    event = {
        "type": kind,
        "task_id": origin.entry,
        "timestamp": str(telling.at_ms),
        "details": json.dumps(details, ensure_ascii=False),
    }
    return [
        Outward(via="stream", name=config.tasks, fields={**operation, **base}),
        Outward(via="stream", name=config.events, fields={**event, **base}),
    ]


def tells_of(state: State) -> str:
    """Return what a state of a task's message means for the task: told once each, empty for nothing."""
    if state is State.REPLIED:
        return "completed"
    if state in DELIVERED:
        return "in_progress"
    return "blocked" if state in UNDELIVERED else ""


def _json(value: Any) -> Mapping[str, Any] | Refusal | None:
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, str) or not value.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return Refusal(reason="it begins like JSON and is none")
    return found if isinstance(found, Mapping) else None


def _body(title: str, task: Mapping[str, Any]) -> str:
    lines = [title.strip()]
    description = task.get("description")
    if isinstance(description, str) and description.strip():
        lines += ["", description.strip()]
    more = [
        f"{name.replace('_', ' ')}: {shown}"
        for name in ("due_date", "tags", "parent_id", "metadata")
        if (shown := _shown(task.get(name)))
    ]
    return "\n".join([*lines, *([""] if more else []), *more])


def _shown(value: Any) -> str:
    if value in (None, "", [], {}, "[]", "{}"):
        return ""
    if isinstance(value, str):
        return value
    try:
        return " ".join(json.dumps(value, ensure_ascii=False, default=str).split())
    except (ValueError, TypeError, RecursionError):
        return "(cannot be shown)"
