"""Commands about messages that are sent later: add, list, show, cancel."""

from __future__ import annotations

import shlex
import time

from nova_torch.durations import seconds, spoken
from nova_torch.errors import DaemonUnreachable, InvalidRequest
from nova_torch.ulid import new_ulid
from novactl import out
from novactl.commands import send as sending
from novactl.session import CALL_S, ask, caller, explain_none, given, limit_s

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from novactl.options import Values

AGAIN_CHARS = 200
WAYS = "Give one of --in 15m, --at 17:30, --every 1h, --cron '0 9 * * MON-FRI'."


def add(values: Values) -> int:
    """Add a schedule; print its id."""
    if values["here"]:
        if values["text"] is not None:
            raise InvalidRequest(
                "--here names the agent, and a target is given too.", "Leave one of them out."
            )
        values = {**values, "text": values["target"], "target": None}
    elif values["target"] is None:
        raise InvalidRequest("no target is given.", "Name an agent, or use --here in an agent's pane.")
    ways = [way for way in ("in_", "at", "every", "cron") if values[way] is not None]
    if len(ways) != 1:
        said = " and ".join(f"--{way.rstrip('_')}" for way in ways)
        raise InvalidRequest(f"{said} exclude each other." if ways else "no time is given.", WAYS)
    return _added(values, sending.body(values))


def later(values: Values, body: str) -> int:
    """Send once, later: `novactl send --in` and `--at`; the message's id is the schedule's."""
    if values["wait"]:
        raise InvalidRequest(
            "--wait does not go with --in and --at: nothing is sent yet.",
            "Leave it out; novactl trace ID follows the message.",
        )
    if values["in_"] is not None and values["at"] is not None:
        raise InvalidRequest("--in and --at exclude each other.", "Use one of them.")
    return _added(
        {"every": None, "cron": None, "missed": None, "late": None, "here": False, **values},
        body,
        receipt={"final": False, "timings_ms": {}},
    )


def list_schedules(values: Values) -> int:
    """List the schedules, the next one first."""
    found = ask(values, "schedule_list", {"agent": values["agent"], "all": values["all"]})
    if not found:
        explain_none(values)
    if values["json"]:
        out.json_line(found)
        return 0
    now_ms = time.time_ns() // 1_000_000
    out.table(
        ("id", "agent", "from", "state", "when", "next", "in", "fired", "detail"),
        [
            (
                s.get("id"),
                s.get("agent"),
                s.get("sender"),
                s.get("state"),
                _when(s),
                s.get("next"),
                _in(s, now_ms),
                s.get("fired"),
                s.get("reason"),
            )
            for s in found
        ],
    )
    return 0


def show(values: Values) -> int:
    """Show one schedule."""
    found = ask(values, "schedule_show", {"id": values["id"].upper()})
    if values["json"]:
        out.json_line(found)
        return 0
    now_ms = time.time_ns() // 1_000_000
    rows = [
        ("id", found.get("id")),
        ("target", found.get("target")),
        ("agent", found.get("agent")),
        ("from", found.get("sender")),
        ("state", " ".join(filter(None, (found.get("state"), found.get("reason"))))),
        ("when", " ".join(filter(None, (_when(found), found.get("words"))))),
        ("next", " ".join(filter(None, (found.get("next"), _in(found, now_ms))))),
        ("missed", f"{found.get('missed')}, {spoken(float(found.get('late_s') or 0))} late at most"),
        ("fired", found.get("fired")),
        ("last", found.get("last_id")),
        ("node", found.get("node")),
        ("again", again(found)),
    ]
    for name, value in rows:
        if value in (None, ""):
            continue
        out.line(out.safe(f"{name:<7} {value}") if out.on_terminal() else f"{name}\t{out.safe(value)}")
    if found.get("body") is not None:
        out.line("")
        out.line(out.text(found["body"]))
    return 0


def again(found: dict[str, Any]) -> str:
    """Return the command that adds this schedule again, quoted for a shell; a long text comes by standard input."""
    words = ["novactl", "schedule", "add"]
    zone = found.get("tz") or "UTC"
    match found.get("kind"):
        case "every":
            words += ["--every", f"{found.get('every_s') or 0:g}s"]
        case "cron":
            words += ["--cron", str(found.get("cron")), "--tz", zone]
        case _:
            at = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime((found.get("at_ms") or 0) / 1000))
            words += ["--at", at]
    words += ["--missed", str(found.get("missed")), "--late", f"{found.get('late_s') or 0:g}s"]
    if found.get("priority") not in (None, "normal"):
        words += ["--priority", str(found["priority"])]
    if found.get("form") in ("raw", "command"):
        words += [f"--{found['form']}"]
    if found.get("ttl_s"):
        words += ["--ttl", f"{found['ttl_s']:g}s"]
    body = str(found.get("body") or "")
    short = body and len(body) <= AGAIN_CHARS and body.isprintable()
    words += ["--", str(found.get("target")), body if short else "-"]
    return shlex.join(words)


def cancel(values: Values) -> int:
    """End a schedule."""
    found = ask(values, "schedule_cancel", {"id": values["id"].upper(), **caller()})
    if values["json"]:
        out.json_line(found)
    else:
        out.line(out.safe(f"{found.get('id')} cancelled"))
    return 0


def _added(values: Values, body: str, receipt: dict[str, Any] | None = None) -> int:
    """Add it and print its id, or as JSON the schedule with the further fields of a `receipt`."""
    args = given(
        {
            "id": sending.message_id(values["id"]) if values["id"] else new_ulid(),
            "target": values["target"],
            "here": values["here"],
            "body": body,
            "in_s": None if values["in_"] is None else _duration(values["in_"], "--in"),
            "at": values["at"],
            "every_s": None if values["every"] is None else _duration(values["every"], "--every"),
            "cron": values["cron"],
            "tz": values["tz"] or _zone(needed=bool(values["at"] or values["cron"])),
            "missed": values["missed"],
            "late_s": None if values["late"] is None else _duration(values["late"], "--late"),
            "priority": values["priority"],
            "ttl_s": None if values["ttl"] is None else seconds(values["ttl"]),
            "form": sending.form(values),
            **caller(),
        }
    )
    try:
        found = ask(values, "schedule_add", args)
    except DaemonUnreachable as error:
        if not sending.was_talking(error):
            raise
        time.sleep(sending.AGAIN_S)  # it may have been taken: one id is one schedule
        found = ask({**values, "timeout": f"{limit_s(values, CALL_S)}s"}, "schedule_add", args)
    if values["json"]:
        out.json_line({**(receipt or {}), **found})
        return 0
    out.line(out.safe(found.get("id")))
    when = f"due {found.get('next')} ({_in(found, time.time_ns() // 1_000_000)}) for {found.get('agent')}"
    out.note(out.safe(when), quiet=values["quiet"])
    return 0


def _duration(text: str, name: str) -> float:
    if text.strip().startswith("-"):
        raise InvalidRequest(f"{name} {text} is not later.", "Give a positive duration such as 30s or 2h.")
    return seconds(text)


def _zone(*, needed: bool) -> str | None:
    """Return the name of the time zone here; None where nothing hangs on it and it has no name."""
    from nova_torch.zones import local_zone

    name = local_zone()
    if name is None and needed:
        raise InvalidRequest("the time zone here has no name.", "Give it: --tz Europe/Berlin")
    return name


def _when(schedule: dict[str, Any]) -> str:
    match schedule.get("kind"):
        case "every":
            return f"every {spoken(float(schedule.get('every_s') or 0))}"
        case "cron":
            return f"cron {schedule.get('cron')} ({schedule.get('tz')})"
        case _:
            return "once"


def _in(schedule: dict[str, Any], now_ms: int) -> str:
    next_ms = schedule.get("next_ms")
    if not isinstance(next_ms, int):
        return ""
    left_s = (next_ms - now_ms) / 1000
    return f"in {spoken(left_s)}" if left_s >= 0 else f"{spoken(-left_s)} ago"
