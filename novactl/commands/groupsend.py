"""Send to a group: one line an agent, a sentence that sums it up, and an exit code that says whether it is done."""

from __future__ import annotations

import time

from nova_torch.durations import spoken
from nova_torch.errors import (
    DaemonUnreachable,
    InvalidRequest,
    NotDelivered,
    NovaError,
    ShuttingDown,
    TimedOut,
)
from nova_torch.quorum import count
from nova_torch.words import UNDELIVERED
from novactl import out
from novactl.commands.send import ABSENT_S, AGAIN_S, was_talking
from novactl.session import CALL_S, connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from novactl.options import Values


def send_group(values: Values, args: dict[str, Any], limit: float) -> int:
    """Send `args` to every member of the group; show and judge what came of it."""
    wait, least = args.get("wait"), values["min"]
    if least is not None and wait is None:
        raise InvalidRequest(
            "--min goes with --wait.", f"Say what to wait for: --wait=acknowledged --min {least}"
        )
    args |= {"dry_run": values["dry_run"], "queue_offline": values["queue_offline"], "min": least}
    args = {name: value for name, value in args.items() if value is not None and value is not False}
    told, receipts = _followed(values, args, limit)
    if told.get("note"):
        out.note(out.safe(told["note"]), quiet=values["quiet"])
    if values["dry_run"]:
        return _show_plan(values, told)
    _show(values, receipts, state=wait is not None)
    out.note(out.safe(_summary(receipts, told["offline"], wait)), quiet=values["quiet"])
    _judge(list(receipts.values()), wait, least or told["count"], limit, args["id"])
    return 0


def _followed(
    values: Values, args: dict[str, Any], limit: float
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Send and follow; the same id again when the daemon went away meanwhile: nobody gets it twice."""
    deadline = time.monotonic() + limit
    told: dict[str, Any] = {}
    receipts: dict[str, dict[str, Any]] = {}
    away_since: float | None = None
    while True:
        try:
            left_s = max(deadline - time.monotonic(), 0.05)
            with connect(values, min(CALL_S, left_s)) as client:
                away_since = None
                for item in client.stream("send_group", args, left_s):
                    if "group" in item:
                        told = item
                    else:
                        receipts[item["receipt"]["target"]] = item["receipt"]
        except KeyboardInterrupt:
            what = "the messages go on." if told else "the messages may have been taken."
            out.error(f"interrupted; {what} The same command with --id {args['id']} waits on.")
            raise
        except TimedOut:
            if not told:
                raise TimedOut(
                    "nova-torchd did not answer in time; it may have taken the messages.",
                    f"Sending them again with --id {args['id']} is safe",
                ) from None
            return told, receipts
        except (DaemonUnreachable, ShuttingDown) as error:
            now = time.monotonic()
            away_since = now if away_since is None else away_since
            if (not told and not was_talking(error)) or now >= deadline or now - away_since > ABSENT_S:
                error.hint = f"{error.hint} Sending it again with --id {args['id']} is safe".strip()
                raise
            time.sleep(AGAIN_S)
        else:
            return told, receipts


def _show_plan(values: Values, told: dict[str, Any]) -> int:
    if values["json"]:
        out.json_line({"count": told["count"], "agents": told["agents"], "offline": told["offline"]})
        return 0
    for agent in told["agents"]:
        out.line(out.safe(agent))
    away = f"; away: {', '.join(told['offline'])}" if told["offline"] else ""
    out.note(out.safe(f"{_agents(told['count'])} would get it{away}"), quiet=values["quiet"])
    return 0


def _show(values: Values, receipts: dict[str, dict[str, Any]], *, state: bool) -> None:
    for agent, receipt in sorted(receipts.items()):
        if values["json"]:
            out.json_line(receipt)
            continue
        words = [receipt["id"], out.safe(agent)]
        if state or receipt["state"] in UNDELIVERED:
            words += [out.coloured(receipt["state"]), out.safe(receipt.get("reason") or "")]
        out.line((out.GAP if out.on_terminal() else "\t").join(words).rstrip())


def _agents(number: int) -> str:
    return f"{number} agent{'' if number == 1 else 's'}"


def _summary(receipts: dict[str, dict[str, Any]], away: list[str], wait: str | None) -> str:
    counts: dict[str, int] = {}
    for receipt in receipts.values():
        counts[receipt["state"]] = counts.get(receipt["state"], 0) + 1
    if wait is None:
        lost = sum(counts.get(state, 0) for state in UNDELIVERED)
        parts = [f"sent to {_agents(len(receipts) - lost)}"] + ([f"{lost} refused"] if lost else [])
    else:
        parts = [f"{count} {state}" for state, count in sorted(counts.items())]
    if away:
        parts.append(f"{len(away)} away and left out (--queue-offline): {', '.join(away)}")
    return ", ".join(parts)


def _judge(receipts: list[dict[str, Any]], wait: str | None, least: int, limit: float, group_id: str) -> None:
    """Raise NotDelivered (7), TimedOut (6) or NovaError (1) unless enough of them are there."""
    if wait is None:
        lost = sum(receipt["state"] in UNDELIVERED for receipt in receipts)
        if lost:
            raise NotDelivered(f"{lost} of {len(receipts)} did not take it.", "Each line says why.")
        return
    counted = count(((receipt["state"], bool(receipt.get("final"))) for receipt in receipts), wait)
    if counted.there >= least:
        return
    told = f"{counted.there} of {least} are {wait}"
    if counted.total - counted.lost < least:
        raise NotDelivered(f"{told}, and {counted.lost} will not get it.", "Each line says why.")
    if counted.lacks(least):
        raise NovaError(
            f"{told}, and {counted.silent} report nothing.",
            "Their hooks do that: novactl hooks install claude",
        )
    raise TimedOut(
        f"{told} after {spoken(limit)}; the messages go on.",
        f"The same command with --id {group_id} waits on.",
    )
