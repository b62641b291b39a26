"""Read the stream of central task management back: which tasks there are, and what is answered of them. Pure.

The stream itself is the record, so every node answers the same, also after a restart. What cannot be
read is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from nova_torch.broker import ForeignEntry
from nova_torch.values import MessageId
from noval_d.bridges.boomerang import (
    CANCELLED,
    COMPLETE,
    CREATE,
    GET,
    UPDATE,
    opened,
    operation_of,
    task_id_of,
)
from noval_d.bridges.decode import read_fields, word
from noval_d.bridges.draft import Query, Refusal

MOST_LISTED = 500
LISTED = 50
DONE = "completed"
STATUSES = ("new", "in_progress", "blocked", DONE, CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A task as the stream tells it."""

    task_id: str
    title: str = ""
    description: str = ""
    status: str = "new"
    priority: str = "medium"
    assignee: str = ""
    parent_id: str = ""
    due_date: str = ""
    tags: tuple[str, ...] = ()
    metadata: Any = None
    result: str = ""
    created: str = ""
    """The entry that created it."""
    updated: str = ""
    """The last entry that says something of it."""
    asked: Mapping[str, Any] = field(default_factory=dict)
    """Every field that it was created with."""

    @property
    def over(self) -> bool:
        """Nothing is to be done for it any more."""
        return self.status in (DONE, CANCELLED)

    def shown(self) -> dict[str, Any]:
        """Return it for the program that asks."""
        data = asdict(self)
        del data["asked"], data["created"], data["updated"]
        return {
            **data,
            "tags": list(self.tags),
            "created_at": _ms(self.created),
            "updated_at": _ms(self.updated),
        }


def fold(entries: Iterable[ForeignEntry], *, most_bytes: int) -> dict[str, Known]:
    """Return every task that these entries, oldest first, create, as it is after the last of them."""
    tasks: dict[str, Known] = {}
    for entry in entries:
        fields = read_fields(entry.fields, most_bytes=most_bytes)
        if isinstance(fields, Refusal) or isinstance(merged := opened(fields), Refusal):
            continue
        operation = operation_of(fields)
        if operation == CREATE:
            made = _created(merged, entry.id)
            tasks.setdefault(made.task_id, made)
        elif operation in (UPDATE, COMPLETE):
            known = tasks.get(word(merged.get("task_id") or merged.get("id")))
            if known is not None:
                tasks[known.task_id] = _updated(known, operation, merged, entry.id)
    return tasks


def latest(moves: Mapping[str, str]) -> MessageId | None:
    """Return the message that a task is since its last move ("": none of ours); None when it never moved."""
    return MessageId(moves[max(moves, key=place)]) if moves else None


def before_entry(moves: Mapping[str, str], entry: str) -> Mapping[str, str]:
    """Return the moves that were made before that of `entry`, which may be there already."""
    return {at: message for at, message in moves.items() if place(at) < place(entry)}


def place(entry: str) -> tuple[int, int]:
    """Return where in a stream an entry stands."""
    ms, _, number = entry.partition("-")
    return (int(ms) if ms.isdigit() else 0, int(number) if number.isdigit() else 0)


def answer(query: Query, tasks: Sequence[Known]) -> dict[str, Any] | Refusal | None:
    """Return the details of the answer to a query about these tasks; None when it is about none of them."""
    if query.operation == GET:
        task = word(query.asked.get("task_id") or query.asked.get("id"))
        if not task:
            return Refusal(reason="the operation names no task_id")
        return next(({"task": known.shown()} for known in tasks if known.task_id == task), None)
    limit, offset = _whole(query, "limit", LISTED), _whole(query, "offset", 0)
    if limit is None or offset is None:
        return Refusal(reason="limit and offset of list_tasks are whole numbers, 0 or more")
    status = word(query.asked.get("status"))
    if status and status not in STATUSES:
        return Refusal(reason=f"the status {status[:40]!r} is none of: {', '.join(STATUSES)}")
    wanted = {name: word(query.asked.get(name)) for name in ("status", "assignee", "parent_id")}
    tags = set(_texts(query.asked.get("tags")))
    found = [
        known
        for known in tasks
        if all(not value or getattr(known, name) == value for name, value in wanted.items())
        and tags <= set(known.tags)
    ]
    page = found[offset : offset + min(limit, MOST_LISTED)]
    return {"tasks": [known.shown() for known in page], "total": len(found), "offset": offset}


def encode_answer(
    query: Query, details: Mapping[str, Any], *, entry: str, source: str, at_ms: int
) -> dict[str, str]:
    """Return the fields of the event that answers the query in `entry`."""
    return {
        "type": "task_details" if query.operation == GET else "task_list",
        "task_id": word(query.asked.get("task_id") or query.asked.get("id"))
        if query.operation == GET
        else "",
        "timestamp": str(at_ms),
        "details": json.dumps(details, ensure_ascii=False, default=str),
        "in_reply_to": entry,
        "_timestamp": str(at_ms),
        "_source": source,
        "_trace_id": query.correlation,
    }


def _created(merged: Mapping[str, Any], entry: str) -> Known:
    return Known(
        task_id=task_id_of(merged, entry),
        title=_text(merged.get("title")),
        description=_text(merged.get("description")),
        status=_status(merged, "new"),
        priority=word(merged.get("priority")) or "medium",
        assignee=word(merged.get("assignee")),
        parent_id=word(merged.get("parent_id")),
        due_date=word(merged.get("due_date")),
        tags=_texts(merged.get("tags")),
        metadata=_parsed(merged.get("metadata")),
        created=entry,
        updated=entry,
        asked=merged,
    )


def _updated(known: Known, operation: str, merged: Mapping[str, Any], entry: str) -> Known:
    if operation == COMPLETE:
        return replace(known, status=DONE, result=_text(merged.get("result")), updated=entry)
    assignee = word(merged["assignee"]) if "assignee" in merged else known.assignee
    return replace(known, status=_status(merged, known.status), assignee=assignee, updated=entry)


def _status(merged: Mapping[str, Any], otherwise: str) -> str:
    given = word(merged.get("status")).lower()
    return given if given in STATUSES else otherwise


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> tuple[str, ...]:
    """Return tags: a list, JSON of one, or words between commas."""
    value = _parsed(value)
    if isinstance(value, str):
        value = value.split(",")
    return tuple(word(tag).strip() for tag in value if word(tag).strip()) if isinstance(value, list) else ()


def _parsed(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _whole(query: Query, name: str, otherwise: int) -> int | None:
    given = query.asked.get(name)
    if given in (None, ""):
        return otherwise
    text = word(given)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _ms(entry: str) -> int:
    return place(entry)[0]
