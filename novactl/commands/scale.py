"""Commands about scaling: how it stands, and why."""

from __future__ import annotations

import time

from nova_torch.durations import spoken
from novactl import out
from novactl.session import ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from novactl.options import Values

OFF = "scaling is off: the configuration has no [scaling.ROLE]"


def status(values: Values) -> int:
    """Show how it stands."""
    told = ask(values, "scale_status")
    if values["json"]:
        out.json_line(told)
        return 0
    if not told["enabled"]:
        out.line(OFF)
        return 0
    out.line(out.safe(_head(told)))
    out.table(
        ("role", "agents", "free", "min", "max", "waiting", "starts in 24 h", "budget", "decision"),
        [
            (
                row["role"], row["agents"], row["spare"], row["min"], row["max"], row["backlog"], row["starts"],
                row["budget"], row["decision"],
            )
            for row in told["roles"]
        ],
    )  # fmt: skip
    now_ms = time.time() * 1000
    out.table(
        ("ago", "what", "agent", "node", "stands", "why"),
        [
            (
                spoken(max(0, round((now_ms - act["at_ms"]) / 1000))), act["way"], act["agent"], act["node"],
                act["stand"], act["note"] or act["why"],
            )
            for act in told["actions"]
        ],
    )  # fmt: skip
    return 0


def explain(values: Values) -> int:
    """Say why."""
    told = ask(values, "scale_status", {"role": values["role"]})
    if values["json"]:
        out.json_line(told["roles"])
        return 0
    if not told["enabled"]:
        out.line(OFF)
        return 0
    out.note(out.safe(_head(told)), quiet=values["quiet"])
    for row in told["roles"]:
        out.line(out.safe(f"{row['role']}: {row['decision']}: {row['why']}"))
    return 0


def _head(told: dict[str, Any]) -> str:
    leader = f"node {told['leader']} leads" if told["leader"] else "nobody leads (yet)"
    dry = "; dry run: nothing is done" if told["dry_run"] else ""
    other = "; its [scaling] differs from that of this node, and holds" if told["differs"] else ""
    return f"{leader}, {told['agents']} agents in the fleet, {told['hard_cap']} at most{dry}{other}"
