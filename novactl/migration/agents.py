"""Register the agents that a node proposes, and unregister those that a migration registered.

A step that was begun and whose end nobody saw needs no care of its own: the next run finds the pane to be nobody's
and does it again under the same name, or finds the agent there; and what is taken back is decided by the agent that
is there.
"""

from __future__ import annotations

from typing import Any

from nova_torch.errors import DaemonUnreachable, NovaError, TimedOut
from nova_torch.protocol.client import Client
from novactl.migration.journal import Journal, Step
from novactl.migration.row import Row

_REGISTERED = ("agent_id", "pane", "driver", "role", "skills")
GONE = "not registered"
BEFORE = "left, an agent before the migration"


def register(found: dict[str, Any], node: str, client: Client, journal: Journal) -> Row:
    """Register one proposal; what fails does so for this one alone."""
    before = _step_of(found["agent_id"], node, journal)
    wanted = {key: found[key] for key in _REGISTERED}
    known = found["known"] and before is None  # one that lost its pane, and that no migration made
    step = journal.begin({"kind": "agent", "node": node, "known": known, **wanted}, over=before)
    try:
        client.call("register", wanted)
    except (DaemonUnreachable, TimedOut) as error:  # it may be registered: the next run sees
        return proposed(found, "failed", str(error))
    except NovaError as error:
        if before is None:
            journal.forget(step)
        else:
            journal.begin(before, over=step)
            journal.done(before)
        return proposed(found, "failed", str(error))
    journal.done(step)
    return proposed(found, "registered")


def proposed(found: dict[str, Any], done: str, detail: str = "") -> Row:
    """Return the row of a proposal."""
    where, program = _place(found)
    temporary = ", temporary" if found["temporary"] else ""
    return Row(
        kind="agent", name=found["agent_id"], where=where, found=program, done=done, detail=detail,
        role=f"{found['role'] or ''}{temporary}",
    )  # fmt: skip


def left(row: dict[str, Any]) -> Row:
    """Return the row of a pane that is left alone."""
    where, program = _place(row)
    return Row(
        kind="pane", name=row["agent_id"] or "", where=where, found=program, done="left", detail=row["reason"]
    )


def unregister(
    step: Step, record: dict[str, Any] | None, client: Client, journal: Journal, *, force: bool, dry_run: bool
) -> Row:
    """Undo one step, if the agent is still the one that it made."""
    reason = decide_unregister(step, record, force=force)
    if reason in (GONE, BEFORE):  # nothing of it is ours any more, or ever was
        if not dry_run:
            journal.forget(step)
        return _undone(step, reason)
    if reason:
        return _undone(step, "kept", reason)
    if dry_run:
        return _undone(step, "would be unregistered")
    try:
        dropped = client.call("unregister", {"agent_id": step["agent_id"]})["dropped"]
    except NovaError as error:
        return _undone(step, "failed", str(error))
    journal.forget(step)
    return _undone(step, "unregistered", f"messages given up: {dropped}" if dropped else "")


def decide_unregister(step: Step, record: dict[str, Any] | None, *, force: bool) -> str:
    """Return "" to unregister, GONE, BEFORE, or why the agent stays. Pure."""
    if record is None:
        return GONE
    if step["known"]:
        return BEFORE
    if other := _otherwise(step, record):
        return other
    if record["queued"] and not force:
        return f"messages in hand for it: {record['queued']}; --force gives up those that wait"
    return ""


def _otherwise(step: Step, record: dict[str, Any]) -> str:
    """Return how an agent is another than the step made it, "" for not at all; it may have lost its pane."""
    if record["pane"] not in ("", step["pane"]):
        return f"it was registered again since, in pane {record['pane']}"
    if any((record[key] or None) != (step[key] or None) for key in ("driver", "role", "skills")):
        return "it was registered again since, otherwise"
    return ""


def _step_of(agent: str, node: str, journal: Journal) -> Step | None:
    mine = (step for step in journal.of("agent") if (step["agent_id"], step["node"]) == (agent, node))
    return next((step for step in mine if not step["known"]), None)


def _undone(step: Step, done: str, detail: str = "") -> Row:
    return Row(
        kind="agent", name=step["agent_id"], where=step["pane"], found=step["driver"], done=done,
        detail=detail, role=step["role"] or "",
    )  # fmt: skip


def _place(row: dict[str, Any]) -> tuple[str, str]:
    return f"{row['pane']} {row['session']}:{row['window']}", row["program"]
