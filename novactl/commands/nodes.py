"""Commands about the nodes of the fleet: list, show, drain, resume, remove."""

from __future__ import annotations

import time

from nova_torch.durations import seconds, spoken
from novactl import out
from novactl.session import ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from novactl.options import Values


TAKES = ("ready", "degraded")
"""The states in which a node takes new agents, as nova_torch.fleet has it."""


def list_nodes(values: Values) -> int:
    """List every node."""
    found = ask(values, "node_list")
    if values["json"]:
        out.json_line(found)
        return 0
    out.table(
        ("node", "state", "labels", "agents", "free", "cpu", "memory", "silent", "version", "detail"),
        [
            (
                node["node"],
                node["state"],
                ",".join(node["labels"]),
                node["agents"],
                node["free"] if node["state"] in TAKES and node["free"] is not None else "",
                _percent(node["load"].get("cpu_percent")),
                _percent(node["load"].get("memory_percent")),
                spoken(node["silent_s"]) if node["silent_s"] else "",
                node["version"],
                _detail(node),
            )
            for node in found
        ],
    )
    return 0


def show(values: Values) -> int:
    """Show one node."""
    node = ask(values, "node_show", {"name": values["name"]})
    if values["json"]:
        out.json_line(node)
        return 0
    load = node["load"]
    rows = [
        ("node", node["node"] + (" (here)" if node["here"] else "")),
        ("state", node["state"]),
        ("detail", _detail(node)),
        ("labels", ", ".join(node["labels"])),
        ("agents", f"{node['agents']}" + (f" of {node['max_agents']}" if node["max_agents"] else "")),
        ("roles", ", ".join(node["roles"])),
        ("last of role", ", ".join(node["last_of_role"])),
        ("load", _load(load)),
        ("silent", spoken(node["silent_s"]) if node["silent_s"] else ""),
        ("version", node["version"]),
    ]
    out.table(("what", "value"), [row for row in rows if row[1]])
    out.table(
        ("agent", "state", "queued", "role"),
        [(agent["agent_id"], agent["state"], agent["queued"], agent["role"]) for agent in node["agent_list"]],
    )
    return 0


def drain(values: Values) -> int:
    """Have a node take nothing new."""
    deadline = None if values["deadline"] is None else seconds(values["deadline"])
    told = ask(
        values, "node_drain", {"name": values["name"], "deadline_s": deadline, "force": values["force"]}
    )
    return _say(values, told, _ordered(told, "drain") or f"node {told['node']} drains; {_see(told)}")


def resume(values: Values) -> int:
    """Have a node take new agents again."""
    told = ask(values, "node_resume", {"name": values["name"]})
    said = _ordered(told, "take new agents again") or f"node {told['node']} takes new agents again"
    return _say(values, told, said)


def _ordered(told: dict[str, Any], what: str) -> str:
    """Return what is said of an order that its node has not carried out yet; empty when it has."""
    if told["state"] != "ordered":
        return ""
    return f"node {told['node']} is ordered to {what}; it has not answered yet, {_see(told)}"


def _see(told: dict[str, Any]) -> str:
    return f"see: novactl node show {told['node']}"


def remove(values: Values) -> int:
    """Forget a node that is gone."""
    told = ask(values, "node_remove", {"name": values["name"], "force": values["force"]})
    given_up = f", {_count(told['dropped'], 'message')} given up" if told["dropped"] else ""
    agents = _count(told["agents"], "agent")
    return _say(values, told, f"node {told['node']} and its {agents} are forgotten{given_up}")


def _say(values: Values, told: dict[str, Any], sentence: str) -> int:
    if values["json"]:
        out.json_line(told)
    else:
        out.line(out.safe(sentence))
    return 0


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _detail(node: dict[str, Any]) -> str:
    parts = list(node["errors"])
    drain = node["drain"]
    if drain is not None:
        by = f" by {drain['by']}" if drain["by"] else ""
        left = drain["deadline_ms"] - time.time_ns() // 1_000_000 if drain["deadline_ms"] else None
        until = "" if left is None else f", deadline {'in ' + spoken(left / 1000) if left > 0 else 'over'}"
        parts.append(f"drained{by}{until}")
        if node.get("open"):
            parts.append(f"not done: {', '.join(node['open'])}")
    elif node["order"]:
        parts.append(f"ordered to {node['order']}")
    if node.get("note"):
        parts.append(node["note"].rstrip("."))
    return "; ".join(parts)


def _load(load: dict[str, Any]) -> str:
    if load.get("cpu_percent") is None:
        return ""
    return (
        f"{load['cpu_percent']:.0f}% of {load['cores']} processors, {load['memory_percent']:.0f}% of the memory,"
        f" {load['load_1m']:g} processes ready or waiting"
    )


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}%"
