"""Show what happens to the agents of the fleet, as it happens."""

from __future__ import annotations

import time

from novactl import out
from novactl.session import followed, given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from novactl.options import Values


def watch_agents(values: Values, filters: dict[str, Any]) -> int:
    """Show who is there, then who comes, goes, moves and changes, until the daemon or the reader ends it."""
    for item in followed(values, "agents_watch", given(filters)):
        if values["json"]:
            out.json_line(item)
        elif item["event"] != "watching":
            out.line(_line(item))
    return 0


def _line(item: dict[str, Any]) -> str:
    before = item.get("before") or {}
    was = before.get("state")
    cells = [
        time.strftime("%H:%M:%S"),
        item["event"],
        item["agent_id"],
        f"{was} -> {item['state']}" if was not in (None, item["state"]) else item["state"],
        f"{before['node']} -> {item['node']}" if item["event"] == "moved" else item["node"],
        item.get("role") or "",
        f"queued {item['queued']}" if item.get("queued") else "",
        f"task {item['current_task']}" if item.get("current_task") else "",
        item.get("attention") or "",
    ]
    return (out.GAP if out.on_terminal() else "\t").join(out.safe(cell) for cell in cells).rstrip()
