"""Commands about messages on their way: trace one, watch all, what was given up."""

from __future__ import annotations

import time

from nova_torch.durations import spoken
from nova_torch.errors import Lagged
from novactl import out
from novactl.session import ask, explain_none, followed, given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from novactl.options import Values


def trace(values: Values) -> int:
    """Show every hop of one message."""
    found = ask(values, "trace", {"id": values["id"].upper()})
    if values["json"]:
        out.json_line(found)
        return 0
    hops = found.get("hops") or []
    start = hops[0].get("at_ms", 0) if hops else 0
    out.table(
        ("time", "after", "node", "state", "reason"),
        [
            (
                clock(hop.get("at_ms", 0)),
                f"+{spoken(max(hop.get('at_ms', 0) - start, 0) / 1000)}",
                hop.get("node"),
                hop.get("state"),
                hop.get("reason"),
            )
            for hop in hops
        ],
    )
    if found.get("hint"):
        out.note(out.safe(f"hint: {found['hint']}"), quiet=values["quiet"])
    answer = found.get("reply") or {}
    if answer.get("body") is not None:
        if out.on_terminal():
            out.line(out.safe(f"answer {answer.get('id')} from {answer.get('sender')}:"))
            out.line(out.text(answer["body"]))
        else:
            out.line(
                "\t".join(map(out.safe, ("answer", answer.get("id"), answer.get("sender"), answer["body"])))
            )
    return 0


def watch(values: Values) -> int:
    """Show the flow of messages until interrupted, or until --timeout."""
    first = True
    try:
        for item in followed(values, "watch", given({"agent": values["agent"]})):
            if values["json"]:
                out.json_line(item)
            elif first:
                note = f"watching from node {item.get('node')}; end it with Ctrl-C"
                out.note(out.safe(note), quiet=values["quiet"])
                if item.get("unknown"):
                    out.note(out.safe(item["unknown"]), quiet=values["quiet"])
            else:
                out.line(_event(item))
            first = False
    except Lagged as error:
        raise Lagged(error.message, error.hint or "Run it again; narrow it with --agent.") from None
    return 0


def dead_list(values: Values) -> int:
    """List the messages that were given up."""
    found = ask(values, "dead_list", {"agent": values["agent"], "limit": values["limit"]})
    if not found:
        explain_none(values)
    if values["json"]:
        out.json_line(found)
        return 0
    out.table(
        ("id", "agent", "from", "state", "reason", "at", "bytes"),
        [
            (
                m.get("id"),
                m.get("agent"),
                m.get("sender"),
                m.get("state"),
                m.get("reason"),
                clock(m.get("at_ms", 0)),
                m.get("body_bytes"),
            )
            for m in found
        ],
    )
    return 0


def dead_retry(values: Values) -> int:
    """Put a message that was given up back into its mailbox."""
    return _one(values, "dead_retry", "queued again")


def dead_drop(values: Values) -> int:
    """Forget a message that was given up."""
    return _one(values, "dead_drop", "dropped")


def clock(at_ms: int) -> str:
    """Return a time of day in this machine's zone, with milliseconds."""
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(at_ms / 1000))}.{at_ms % 1000:03d}"


def _one(values: Values, call: str, done: str) -> int:
    message = values["id"].upper()
    answer = ask(values, call, {"id": message})
    if values["json"]:
        out.json_line(answer)
    else:
        out.line(f"{message} {done}")
    return 0


def _event(item: dict[str, Any]) -> str:
    event = str(item.get("event") or "")
    about = str(item.get("reason") or "")
    if event.startswith("agent."):
        about = " ".join(filter(None, (_change(item), item.get("detail"), item.get("shown"))))
    words = [
        clock(item.get("at_ms", 0)),
        out.safe(item.get("id") or item.get("event") or "-"),
        out.safe(item.get("agent") or "-"),
        out.coloured(out.safe(item.get("state") or item.get("event") or "-")),
        out.safe(about),
    ]
    return (out.GAP if out.on_terminal() else "\t").join(words).rstrip()


def _change(item: dict[str, Any]) -> str:
    """Say what changed of an agent: from which state and who told, or what it needs a person for."""
    if item.get("event") == "agent.state":
        return f"after {item.get('before')}, by {item.get('source')}"
    return f"{item['reason']}:" if item.get("reason") else ""
