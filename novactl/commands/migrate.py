"""Take over what runs under the original Tmux Orchestrator, or take that back."""

from __future__ import annotations

import os
from contextlib import ExitStack

from nova_torch import paths
from nova_torch.errors import InvalidRequest, NotFound
from nova_torch.protocol.client import Client
from novactl import out
from novactl.migration import agents, scripts
from novactl.migration.journal import Journal, opened
from novactl.migration.row import Row
from novactl.session import CALL_S, connect, limit_s

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from novactl.options import Values

SCRIPTS, AGENTS = "scripts", "agents"


def migrate(values: Values) -> int:
    """Replace scripts and register agents, or undo it; the exit code is 1 when something could not be done."""
    _check(values)
    directory = paths.find_state_dir()
    if values["revert"]:
        needed = values["only"] != SCRIPTS and bool(Journal(directory).of("agent"))
    else:
        needed = values["only"] != SCRIPTS or not values["scripts"]
    with ExitStack() as stack:
        client = stack.enter_context(connect(values, limit_s(values, CALL_S))) if needed else None
        journal = stack.enter_context(opened(directory, only_read=values["dry_run"]))
        work = _back(values, journal, client) if values["revert"] else _over(values, journal, client)
        rows = list(work)
    _tell(values, rows)
    return 1 if any(row.short for row in rows) else 0


def _check(values: Values) -> None:
    if values["revert"] and (values["from_"] or values["scripts"]):
        raise InvalidRequest(
            "--revert takes back what was done, wherever it was.", "Leave --from and --scripts out."
        )
    if not values["revert"] and not values["from_"]:
        raise InvalidRequest("migrate needs to know from what.", "novactl migrate --from tmux-orchestrator")
    for directory in values["scripts"]:
        if not os.path.isdir(os.path.expanduser(directory)):
            raise NotFound(f"there is no directory {directory}.", "Name the one that has the scripts.")


def _over(values: Values, journal: Journal, client: Client | None) -> Iterator[Row]:
    dry_run, only = values["dry_run"], values["only"]
    seen: dict[str, Any] = client.call("proposals") if client is not None else {"directories": []}
    if only != AGENTS:
        if not dry_run:
            yield from scripts.finish(journal)
        named = [os.path.expanduser(directory) for directory in values["scripts"]]
        places = named or scripts.directories(seen["directories"])
        for script, kind in list(scripts.found(scripts.distinct(places))):
            yield scripts.replace(script, kind, journal, force=values["force"], dry_run=dry_run)
    if only != SCRIPTS and client is not None:
        for found in seen["found"]:
            if dry_run:
                yield agents.proposed(found, "would be registered")
            else:
                yield agents.register(found, seen["node"], client, journal)
        yield from map(agents.left, seen["left"])


def _back(values: Values, journal: Journal, client: Client | None) -> Iterator[Row]:
    dry_run, only = values["dry_run"], values["only"]
    if only != SCRIPTS and client is not None:
        node = client.call("ping")["node"]
        records = _records(client, node)
        for step in reversed(journal.of("agent")):
            if step["node"] != node:
                yield Row(
                    kind="agent", name=step["agent_id"], where=step["pane"], found=step["driver"],
                    done="kept", detail=f"it was registered by the node {step['node']}, and this is {node}",
                )  # fmt: skip
                continue
            record = records.get(step["agent_id"])
            yield agents.unregister(step, record, client, journal, force=values["force"], dry_run=dry_run)
    if only != AGENTS:
        for step in reversed(journal.of("script")):
            yield scripts.put_back(step, journal, dry_run=dry_run)


def _records(client: Client, node: str) -> dict[str, dict[str, Any]]:
    return {record["agent_id"]: record for record in client.call("agents", {"node": node})}


def _tell(values: Values, rows: list[Row]) -> None:
    if values["json"]:
        out.json_line({"dry_run": values["dry_run"], "rows": [row.to_json() for row in rows]})
        return
    out.table(("kind", "name", "where", "found", "role", "what"), [row.cells() for row in rows])
    for line in _notes(values, rows):
        out.note(line, quiet=values["quiet"])


def _notes(values: Values, rows: list[Row]) -> Iterator[str]:
    if values["revert"]:
        if not rows:
            yield "nothing to take back: no migration is written down here"
        return
    if values["only"] != AGENTS and not any(row.kind == "script" for row in rows):
        yield "no scripts of the original are there; name their directory: --scripts DIR"
    if any(row.done == "registered" for row in rows):
        yield "hooks prove deliveries; install them: novactl hooks install claude|codex|gemini"
    if any(row.done in ("replaced", "registered") for row in rows):
        yield "back again: novactl migrate --revert"
