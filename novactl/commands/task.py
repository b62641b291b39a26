"""Commands about tasks: add, list, show, claim, update, done, fail, cancel, reassign, watch."""

from __future__ import annotations

import os
import sys
import time

from nova_torch.durations import seconds, spoken
from nova_torch.errors import DaemonUnreachable, InvalidRequest, TimedOut
from nova_torch.ulid import new_ulid
from novactl import out
from novactl.commands.flow import clock
from novactl.session import CALL_S, ask, caller, connect, explain_none, followed, given, limit_s

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from novactl.options import Values


def add(values: Values) -> int:
    """Add a task; print its id."""
    if values["body"] is not None and values["file"] is not None:
        raise InvalidRequest("the body is given twice: with --body and with --file.", "Use one of them.")
    body = values["body"] if values["file"] is None else _read(values["file"])
    named = values["id"].upper() if values["id"] is not None else new_ulid(time.time_ns() // 1_000_000)
    args = {
        "id": named,
        "title": values["title"],
        "body": body,
        "role": values["role"],
        "skills": values["skill"],
        "priority": values["priority"],
        "deadline_s": _duration(values["deadline"]),
        "depends_on": values["depends_on"],
        "retries": values["retries"],
        "anyway": values["anyway"],
        **caller(),
    }
    try:
        found = ask(values, "task_add", args)
    except (TimedOut, DaemonUnreachable) as error:
        again = f"Whether it was added is not known. Add it again with --id {named}: it is one task."
        raise type(error)(error.message, f"{error.hint} {again}".strip()) from None
    if values["json"]:
        out.json_line(found)
        return 0
    out.line(str(found.get("id")))
    out.note(_state(found), quiet=values["quiet"])
    return 0


def list_tasks(values: Values) -> int:
    """List tasks."""
    args = {name: values[name] for name in ("agent", "role", "state", "all")}
    found = ask(values, "task_list", args)
    explained = not found and explain_none(values)
    if values["json"]:
        out.json_line(found)
        return 0
    if not found and not explained:
        which = "matches. See them all: novactl task list --all" if any(args.values()) else "is open."
        out.note(f"no task {which}", quiet=values["quiet"])
    now_ms = time.time_ns() // 1_000_000
    out.table(
        ("id", "state", "for", "priority", "agent", "role", "title", "detail"),
        [
            (
                task.get("id"),
                task.get("state"),
                spoken(max(now_ms - int(task.get("since_ms") or 0), 0) / 1000),
                task.get("priority"),
                task.get("agent"),
                " ".join(filter(None, (task.get("role"), *(f"+{s}" for s in task.get("skills") or ())))),
                task.get("title"),
                _detail(task),
            )
            for task in found
        ],
    )
    return 0


def show(values: Values) -> int:
    """Show one task."""
    found = ask(values, "task_show", {"id": values["id"]})
    if values["json"]:
        out.json_line(found)
        return 0
    depends = ", ".join(f"{d.get('id')} ({d.get('state')})" for d in found.get("depends_on") or ())
    deadline = found.get("deadline_s")
    rows = [
        ("id", found.get("id")),
        ("title", found.get("title")),
        ("state", _state(found)),
        ("agent", found.get("agent")),
        ("attempt", f"{found.get('attempt')} of {1 + int(found.get('retries') or 0)}"),
        ("role", found.get("role")),
        ("skills", ", ".join(found.get("skills") or ())),
        ("priority", found.get("priority")),
        ("deadline", spoken(float(deadline)) if deadline else ""),
        ("depends", depends),
        ("from", found.get("creator")),
        ("message", found.get("message") or ""),
        ("files", ", ".join(found.get("artifacts") or ())),
    ]
    for name, value in rows:
        if value:
            out.line(out.safe(f"{name:<8} {value}") if out.on_terminal() else f"{name}\t{out.safe(value)}")
    for name in ("body", "result"):
        if found.get(name):
            out.line(f"\n{name}:\n{out.text(found[name])}")
    out.line("")
    out.table(
        ("time", "step", "who", "reason"),
        [
            (clock(step.get("at_ms", 0)), step.get("what"), step.get("who"), step.get("reason"))
            for step in found.get("steps") or ()
        ],
    )
    if found.get("candidates"):
        out.line("")
        out.table(
            ("agent", "node", "score", "why"),
            [
                (
                    each.get("agent"),
                    each.get("node"),
                    each.get("score"),
                    each.get("why_not") or ", ".join(f"{k} {v:+g}" for k, v in each.get("parts", {}).items()),
                )
                for each in found["candidates"]
            ],
        )
    return 0


def claim(values: Values) -> int:
    """Take a task for the agent in this pane."""
    found = ask(values, "task_claim", {"id": values["id"], **caller()})
    if values["json"]:
        out.json_line(found)
        return 0
    out.line(f"{found.get('id')} {out.safe(found.get('title'))}")
    if found.get("body"):
        out.line(out.text(found["body"]))
    return 0


def update(values: Values) -> int:
    """Say how far a task is, or change what is asked for."""
    if values["depends_on"] and values["depends_on_nothing"]:
        raise InvalidRequest("--depends-on and --depends-on-nothing exclude each other.", "Use one of them.")
    names = ("id", "note", "progress", "title", "priority")
    args = {name: values[name] for name in names} | {"deadline_s": _duration(values["deadline"])}
    args = given({**args, **caller()})
    if values["depends_on"] or values["depends_on_nothing"]:
        args["depends_on"] = values["depends_on"]
    with connect(values, limit_s(values, CALL_S)) as client:
        return _said(values, client.call("task_update", args))


def done(values: Values) -> int:
    """End a task well."""
    result = _read("-") if values["result"] == "-" else values["result"]
    args = {"id": values["id"], "result": result, "artifacts": values["artifact"], **caller()}
    return _said(values, ask(values, "task_done", args))


def fail(values: Values) -> int:
    """Give a task back."""
    if values["reason"] is None:
        raise InvalidRequest("no reason is given.", 'Say what was in the way: --reason "..."')
    args = {"id": values["id"], "reason": values["reason"], "final": values["final"], **caller()}
    return _said(values, ask(values, "task_fail", args))


def cancel(values: Values) -> int:
    """End a task without a result."""
    args = {"id": values["id"], "reason": values["reason"], **caller()}
    return _said(values, ask(values, "task_cancel", args))


def reassign(values: Values) -> int:
    """Give a task again."""
    return _said(values, ask(values, "task_reassign", {"id": values["id"], "to": values["to"], **caller()}))


def watch(values: Values) -> int:
    """Show the steps of tasks until interrupted, or until --timeout."""
    wanted = values["id"].upper() if values["id"] else None
    if wanted:
        ask(
            {**values, "timeout": None}, "task_show", {"id": wanted}
        )  # one that is not known would be silent for ever
    first = True
    for item in followed(values, "watch"):
        if first:
            out.note(
                f"watching from node {out.safe(item.get('node'))}; end it with Ctrl-C", quiet=values["quiet"]
            )
            first = False
        if not str(item.get("event", "")).startswith("task.") or wanted not in (None, item.get("task")):
            continue
        if values["json"]:
            out.json_line(item)
        else:
            words = (
                clock(item.get("at_ms", 0)), item.get("event"), item.get("task"), item.get("agent"),
                item.get("title"), item.get("reason"),
            )  # fmt: skip
            out.line("\t".join(out.safe(word or "") for word in words))
    return 0


def _said(values: Values, found: dict[str, Any]) -> int:
    if values["json"]:
        out.json_line(found)
    else:
        out.line(f"{found.get('id')} {out.safe(_state(found))}")
        if found.get("blocks"):
            again = f"until this one is opened again: novactl task reassign {found.get('id')}"
            out.note(f"blocked: {', '.join(found['blocks'])}, {again}", quiet=values["quiet"])
    return 0


def _state(found: dict[str, Any]) -> str:
    reason = found.get("reason")
    return f"{found.get('state')}: {reason}" if reason else str(found.get("state"))


def _detail(task: dict[str, Any]) -> str:
    progress = (
        f"{task['progress']} %" if task.get("progress") is not None and task["state"] == "assigned" else ""
    )
    return " ".join(filter(None, (progress, task.get("reason"))))


def _duration(text: str | None) -> float | None:
    return None if text is None else seconds(text)


def _read(path: str) -> str:
    try:
        if path == "-":
            return sys.stdin.buffer.read().decode()
        with open(path, "rb") as file:
            return file.read().decode()
    except OSError as error:
        raise InvalidRequest(
            f"{os.fspath(path)} cannot be read: {error.strerror}.", "Name another file."
        ) from None
    except UnicodeDecodeError:
        raise InvalidRequest(f"{path} is not UTF-8.", "Convert it first.") from None
