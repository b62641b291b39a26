"""What scaling has done: each start and stop as a record that only moves forward. No I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

import msgpack

from nova_torch.errors import InvalidRequest
from nova_torch.ulid import is_ulid, new_ulid
from nova_torch.values import AGENT_ID

DAY_MS = 86_400_000


class Way(StrEnum):
    """Which way an action goes."""

    UP = "up"
    DOWN = "down"


class Stand(StrEnum):
    """How far an action is."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One start or stop. Its id is what its node is asked under: done again, it is the same agent."""

    id: str
    role: str
    way: Way
    at_ms: int
    agent: str
    node: str
    why: str
    stand: Stand = Stand.PENDING
    note: str = ""

    def ended(self, stand: Stand, note: str = "") -> Action:
        """Return it at its end."""
        return replace(self, stand=stand, note=note)

    def to_json(self) -> dict[str, Any]:
        """Return it as it travels."""
        return asdict(self)


def action_id(role: str, way: Way, at_ms: int, number: int) -> str:
    """Return the id of the `number`th action of a decision: made again from it, it is the same."""
    digest = hashlib.sha256(f"nova-torch scale {role} {way} {at_ms} {number}".encode()).digest()
    return new_ulid(at_ms, digest[:10])


def pack(action: Action, signature: str) -> bytes:
    """Return an action as it lies in the broker."""
    return bytes(msgpack.packb([asdict(action), signature]))


def unpack(raw: bytes) -> tuple[Action, str]:
    """Read what `pack` wrote, wherever it comes from. Raises InvalidRequest."""
    try:
        data, signature = msgpack.unpackb(raw)
        action = Action(**{**data, "way": Way(data["way"]), "stand": Stand(data["stand"])})
        texts = (action.role, action.node, action.why, action.note, signature)
        right = (
            is_ulid(action.id)
            and all(isinstance(text, str) for text in texts)
            and type(action.at_ms) is int
            and 0 <= action.at_ms < 2**53
            and AGENT_ID.match(action.agent) is not None
        )
    except (ValueError, TypeError, KeyError, AttributeError, msgpack.UnpackException) as error:
        raise InvalidRequest(f"an action of scaling cannot be read: {error}.") from None
    if not right:
        raise InvalidRequest("an action of scaling has a wrong field.")
    return action, signature


def merged(*histories: Iterable[Action]) -> dict[str, Action]:
    """Return all of them by id; of two records of one action the one that has ended holds."""
    found: dict[str, Action] = {}
    for history in histories:
        for action in history:
            known = found.get(action.id)
            if known is None or known.stand is Stand.PENDING:
                found[action.id] = action
    return found


def learned(own: Mapping[str, Action], theirs: Mapping[str, Action], now_ms: int) -> dict[str, Action]:
    """Return what a node knows that reads what the broker has: what is old and not there, the leader has forgotten.

    A broker that has nothing was wiped: then all of it is kept.
    """
    old = [a.id for a in own.values() if theirs and a.id not in theirs and now_ms - a.at_ms >= DAY_MS]
    return merged([action for action in own.values() if action.id not in old], theirs.values())


def kept(history: Mapping[str, Action], agents: Collection[str], now_ms: int) -> dict[str, Action]:
    """Return what still counts: a day's actions, and the start of each agent that is there."""
    return {
        name: action
        for name, action in history.items()
        if now_ms - action.at_ms < DAY_MS or (action.way is Way.UP and action.agent in agents)
    }
