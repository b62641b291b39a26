"""Say who a group is, whom of it a message is for, and give each member a message of its own. Pure.

The id of a member's message follows from the group's id and the member's name, so that a broadcast that is sent
again is, for each member, the same message again. They share their first 16 letters, and with them the place that
their receipts come back to when there is no daemon.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from nova_torch.errors import AgentNotFound, InvalidRequest
from nova_torch.fleet import NodeView
from nova_torch.nearest import suggestion
from nova_torch.registry import Query, find, why_none
from nova_torch.ulid import ALPHABET
from nova_torch.values import AgentRecord, AgentState

SHARED = 16
"""Letters of an id that say where its receipts come back: the time in ms and 30 random bits."""
KINDS = ("role", "skill", "node", "label")
ONE = "one"
"""The header of a message for exactly one of a group, on its way to the daemon that chooses whom."""
OFFLINE = frozenset({AgentState.LOST, AgentState.EXITED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Whom a broadcast is for: everybody, or those that match all that is given."""

    role: str | None = None
    skills: tuple[str, ...] = ()
    node: str | None = None
    labels: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"role:{self.role}"] if self.role is not None else []
        parts += [f"skill:{skill}" for skill in self.skills]
        parts += [f"node:{self.node}"] if self.node is not None else []
        parts += [f"label:{label}" for label in self.labels]
        return ",".join(parts) or "all"

    @property
    def query(self) -> Query:
        """Who is looked for."""
        return Query(role=self.role, skills=self.skills, node=self.node, labels=self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Whom of a group a message is for, by name, and who was left out because nobody can type to it now."""

    members: tuple[AgentRecord, ...]
    offline: tuple[AgentRecord, ...] = ()


def is_group(target: str) -> bool:
    """Tell whether `target` is a group: `all`, `role:…`, `skill:…`, `node:…`, `label:…`."""
    return target == "all" or target.partition(":")[0] in KINDS


def parse_group(target: str) -> Group:
    """Read `all` or `role:reviewer,skill:python,skill:sql`: all of it must match. Raises InvalidRequest."""
    if target == "all":
        return Group()
    found: dict[str, list[str]] = {}
    for part in target.split(","):
        kind, _, value = part.strip().partition(":")
        if kind not in KINDS or not value:
            like = "Write it like role:reviewer,skill:python,node:eu-1."
            cure = like if kind in KINDS else suggestion(kind, KINDS, otherwise=like)
            raise InvalidRequest(f"{part.strip()!r} is no part of a group.", cure)
        found.setdefault(kind, []).append(value)
    for kind in ("role", "node"):
        if len(found.get(kind, ())) > 1:
            raise InvalidRequest(f"{target!r} has two {kind}s, and nobody has both.", "Send it to each.")
    return Group(
        role=found.get("role", [None])[0],
        skills=tuple(found.get("skill", ())),
        node=found.get("node", [None])[0],
        labels=tuple(found.get("label", ())),
    )


def choose(
    group: Group, views: Sequence[NodeView], *, sender: str, offline: bool = False, one: bool = False
) -> Chosen:
    """Return who is in the group, without the sender itself; with `offline` also those who are away.

    `one`: only one of them is to get it; the error says what helps then.
    Raises AgentNotFound when nobody is, with what nobody has, or that all are away.
    """
    found = [record for record in find(views, group.query) if record.agent_id != sender]
    away = tuple(record for record in found if record.state in OFFLINE)
    there = tuple(record for record in found if record.state not in OFFLINE)
    if offline:
        return Chosen(members=tuple(found)) if found else _nobody(group, views)
    if there:
        return Chosen(members=there, offline=away)
    if away:
        names = ", ".join(record.agent_id for record in away[:5])
        raise AgentNotFound(
            f"everybody in {group} is away: {names}{' …' if len(away) > 5 else ''}.",
            "To have it wait for one of them, name that one."
            if one
            else "To have it wait for them: --queue-offline",
        )
    return _nobody(group, views)


def members(
    group: Group, records: Sequence[AgentRecord], *, sender: str, offline: bool = False
) -> list[AgentRecord]:
    """Return who of `records` is in the group, as `choose` does, where no more is known of their nodes."""
    there: dict[str, list[AgentRecord]] = {}
    for record in records:
        there.setdefault(record.node, []).append(record)
    views = [NodeView(node=name, alive=True, agents=tuple(agents)) for name, agents in there.items()]
    return list(choose(group, views, sender=sender, offline=offline).members)


def least_loaded(chosen: Chosen, views: Sequence[NodeView]) -> AgentRecord:
    """Return who of them gets what only one is to get.

    First who is idle with nothing waiting, on a node that takes something new; of those who has least waiting,
    whose machine has least to do, and whose name comes first.
    """
    nodes = {view.node: view for view in views}

    def rank(record: AgentRecord) -> tuple[bool, bool, bool, int, float, str]:
        view = nodes.get(record.node)
        load = view.card.load.cpu_percent if view is not None else None
        return (
            record.state in OFFLINE,
            view is None or not view.takes,
            record.state is not AgentState.IDLE,
            record.queued,
            load if load is not None else 100.0,
            record.agent_id,
        )

    return min(chosen.members, key=rank)


def _nobody(group: Group, views: Sequence[NodeView]) -> Chosen:
    why, cure = why_none(views, group.query)
    raise AgentNotFound(f"no agent matches {group}: {why}", cure)


def member_id(group_id: str, agent: str) -> str:
    """Return the id of the message for `agent` in the broadcast `group_id` (a ULID)."""
    number = int.from_bytes(hashlib.sha256(f"{group_id} {agent}".encode()).digest()[:7], "big")
    tail = "".join(ALPHABET[(number >> shift) & 31] for shift in range(45, -1, -5))
    return group_id[:SHARED] + tail
