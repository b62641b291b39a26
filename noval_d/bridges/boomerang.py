"""Read and write the operations of central task management ("Boomerang"). Pure.

A task comes in as `create_task` with an assignee; `update_task`, `complete_task` and the events `task_updated` and
`task_completed` go back. Operations of others that create nothing are theirs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from nova_torch.bridging import Boomerang
from nova_torch.values import DELIVERED, UNDELIVERED, Kind, State
from noval_d.bridges.decode import MARK, OURS, priority_of, read_fields, word
from noval_d.bridges.draft import Decoded, Draft, Ignored, Origin, Outward, Refusal
from noval_d.bridges.encode import Telling

OPERATION = ("operation", "op", "action", "type")
ENVELOPE = ("params", "task", "data", "payload", "args")
"""Fields that may hold the rest as JSON."""
CREATE = "create_task"
OTHERS = frozenset(
    {"get_task", "update_task", "complete_task", "list_tasks", "task_updated", "task_completed"}
)
DIALECT = "boomerang"


def decode_task(pairs: Sequence[tuple[bytes, bytes]], entry: str, *, most_bytes: int) -> Decoded:
    """Return the task of an entry as a draft whose id is the task's, or why it is none."""
    fields = read_fields(pairs, most_bytes=most_bytes)
    if isinstance(fields, Refusal):
        return fields
    if MARK in fields:
        return OURS
    operation = next((word(fields[name]) for name in OPERATION if fields.get(name)), "")
    if operation in OTHERS:
        return Ignored(reason=f"{operation[:40]} of another")
    if operation != CREATE:
        return Refusal(reason=f"the operation is {operation[:40]!r}, not {CREATE}")
    merged = dict(fields)
    for name in ENVELOPE:
        inner = _json(fields.get(name))
        if isinstance(inner, Refusal):
            return inner
        if isinstance(inner, Mapping):
            merged = {**merged, **{str(key): value for key, value in inner.items()}}
    assignee = merged.get("assignee")
    if not assignee:
        return Ignored(reason="a task without assignee")
    title = merged.get("title")
    if not isinstance(title, str) or not title.strip():
        return Refusal(reason="the task has no title")
    return Draft(
        body=_body(title, merged),
        sender=word(merged.get("_source") or merged.get("created_by") or merged.get("sender")),
        target=word(assignee),
        correlation=word(merged.get("_trace_id") or merged.get("correlation_id")),
        priority=priority_of(merged.get("priority")),
        kind=Kind.TASK,
        id=word(merged.get("task_id") or merged.get("id")) or entry,
    )


def encode_task(config: Boomerang, origin: Origin, telling: Telling) -> list[Outward]:
    """Return the operation and the event that tell of what became of a task."""
    base = {"_timestamp": str(telling.at_ms), "_source": telling.agent, "_trace_id": origin.correlation}
    if telling.body is not None:
        status, kind = "completed", "task_completed"
        operation = {
            "operation": "complete_task",
            "task_id": origin.entry,
            "result": telling.body,
            "artifacts": "[]",
        }
    else:
        status, kind = ("blocked" if telling.state in UNDELIVERED else "in_progress"), "task_updated"
        operation = {"operation": "update_task", "task_id": origin.entry, "status": status}
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
