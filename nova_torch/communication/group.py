"""Say who a group is, and give each of its members a message of its own. Pure.

The id of a member's message follows from the group's id and the member's name, so that a broadcast that is sent
again is, for each member, the same message again. They share their first 16 letters, and with them the place that
their receipts come back to when there is no daemon.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from nova_torch.errors import AgentNotFound
from nova_torch.fleet import matching
from nova_torch.nearest import suggestion
from nova_torch.ulid import ALPHABET
from nova_torch.values import AgentRecord

SHARED = 16
"""Letters of an id that say where its receipts come back: the time in ms and 30 random bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Whom a broadcast is for: everybody, or those that match all that is given."""

    role: str | None = None
    skills: tuple[str, ...] = ()
    node: str | None = None

    def __str__(self) -> str:
        parts = [f"role:{self.role}"] if self.role is not None else []
        parts += [f"skill:{skill}" for skill in self.skills]
        parts += [f"node:{self.node}"] if self.node is not None else []
        return " ".join(parts) or "all"


def members(group: Group, records: Sequence[AgentRecord], *, sender: str) -> list[AgentRecord]:
    """Return who is in the group, without the sender itself.

    Raises AgentNotFound when nobody is, with the role, skill or node that may have been meant.
    """
    found = matching(records, role=group.role, skills=group.skills, node=group.node)
    others = [record for record in found if record.agent_id != sender]
    if others:
        return others
    raise AgentNotFound(f"no agent matches {group}.", _cure(group, records))


def _cure(group: Group, records: Sequence[AgentRecord]) -> str:
    asked: list[tuple[str | None, set[str]]] = [
        (group.role, {record.role for record in records if record.role}),
        *((skill, {s for record in records for s in record.skills}) for skill in group.skills),
        (group.node, {str(record.node) for record in records}),
    ]
    for name, known in asked:
        if name is not None and name not in known:
            return suggestion(name, known, otherwise="See them all: novactl agents")
    return "See them all: novactl agents"


def member_id(group_id: str, agent: str) -> str:
    """Return the id of the message for `agent` in the broadcast `group_id` (a ULID)."""
    number = int.from_bytes(hashlib.sha256(f"{group_id} {agent}".encode()).digest()[:7], "big")
    tail = "".join(ALPHABET[(number >> shift) & 31] for shift in range(45, -1, -5))
    return group_id[:SHARED] + tail
