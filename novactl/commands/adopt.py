"""Find running agents by the configuration's rules and register them."""

from __future__ import annotations

from novactl import out
from novactl.session import ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from novactl.options import Values


def adopt(values: Values) -> int:
    """Register what the rules find, and say what was left alone and why."""
    answer = ask(values, "adopt", {"dry_run": values["dry_run"]})
    if values["json"]:
        out.json_line(answer)
        return 0
    found, left = answer["found"], answer["left"]
    done = "would be adopted" if answer["dry_run"] else "adopted"
    out.table(
        ("pane", "window", "program", "agent", "driver", "what"),
        [(*_place(row), row["agent_id"], row["driver"], done) for row in found]
        + [(*_place(row), row["agent_id"], "", f"left: {row['reason']}") for row in left],
    )
    if not found:
        out.note("nothing new to adopt. The rules: [[adopt]] in the configuration", quiet=values["quiet"])
    return 0


def _place(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["pane"], f"{row['session']}:{row['window']}", row["program"]
