"""Say what `doctor` finds of bridges."""

from __future__ import annotations

from noval_d.health.check import Check
from noval_d.node.node import Node

BRIDGE_HIT_MS = 3_600_000  # how long what a bridge dropped is a warning


def findings(node: Node) -> list[Check]:
    """Return each bridge that cannot be read or has dropped something within the hour; the others are well."""
    found: list[Check] = []
    for row in node.bridges.rows():
        name = f"The bridge {row['name']} ({row['via']} {row['key']})"
        if row["problem"]:
            found.append(
                Check(
                    "bridge_unreadable",
                    "warning",
                    f"{name} does not work: {row['problem']}.",
                    "The others go on. Look at its type and at the rights of the broker's user.",
                )
            )
        if row.get("dropped") and node.clock_ms() - row["dropped_ms"] < BRIDGE_HIT_MS:
            found.append(
                Check(
                    "bridge_dropped",
                    "warning",
                    f"{name} has dropped {row['dropped']}; the last: {row['reason']}.",
                    f"They are kept in the stream {node.config.broker.prefix}:{{br}}:dead of the broker.",
                )
            )
    if node.bridges.names and not found:
        found.append(Check("bridges", "ok", f"{len(node.bridges.names)} streams and channels are bridged."))
    return found
