"""Read what nodes tell of themselves and their agents in the registry, and find one among them. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from nova_torch.errors import AgentNotFound, NotFound
from nova_torch.nearest import suggestion
from nova_torch.values import AgentRecord, AgentState

NODE = "node:"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """One node of the fleet as it last told of itself. `alive`: its lease holds by the broker's clock."""

    node: str
    alive: bool
    last_seen_ms: int = 0
    """When it last beat, by its own clock, ms since the epoch; 0: not told."""
    agents: tuple[AgentRecord, ...] = ()
    bridges: frozenset[str] = frozenset()
    """What it bridges: `stream:` or `channel:` and the name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """The answer to a ping: what the fleet knows of an agent (`kind` agent) or of a node (`kind` node).

    `state` is the agent's (idle, busy, …); of an agent whose node's lease is over it is `lost`, whatever it was
    last. Of a node it is `up` or `lost`. `last_seen_ms` is ms since the epoch, 0 when nobody told.
    """

    name: str
    kind: str
    node: str
    alive: bool
    state: str
    last_seen_ms: int

    def to_json(self) -> dict[str, object]:
        """Return the object of the call `presence`."""
        return {
            "name": self.name,
            "kind": self.kind,
            "node": self.node,
            "alive": self.alive,
            "state": self.state,
            "last_seen_ms": self.last_seen_ms,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Presence:
        """Make it from the object of the call `presence`; unknown fields are ignored."""
        return cls(
            name=str(data["name"]),
            kind=str(data["kind"]),
            node=str(data["node"]),
            alive=bool(data["alive"]),
            state=str(data["state"]),
            last_seen_ms=int(data.get("last_seen_ms") or 0),
        )


def write_blob(
    node: str, agents: Iterable[AgentRecord], *, now_ms: int, bridges: Sequence[str] = ()
) -> bytes:
    """Return what a node publishes of itself with each beat."""
    told = [agent.to_json() for agent in agents]
    return bytes(msgpack.packb({"node": node, "at_ms": now_ms, "agents": told, "bridges": list(bridges)}))


def read_blob(node: str, blob: bytes, *, alive: bool) -> NodeView | None:
    """Return what a node published, or None when it cannot be read; unknown fields are ignored."""
    if not blob:
        return NodeView(node=node, alive=alive)
    try:
        data = msgpack.unpackb(blob)
        at_ms = data.get("at_ms")
        return NodeView(
            node=node,
            alive=alive,
            last_seen_ms=at_ms if isinstance(at_ms, int) else 0,
            agents=tuple(AgentRecord.from_json(agent) for agent in data["agents"]),
            bridges=frozenset(str(name) for name in data.get("bridges") or ()),
        )
    except (ValueError, KeyError, TypeError, AttributeError, msgpack.UnpackException):
        return None


def matching(
    records: Iterable[AgentRecord],
    *,
    role: str | None = None,
    skills: Sequence[str] = (),
    node: str | None = None,
    state: str | None = None,
) -> list[AgentRecord]:
    """Return the agents that match everything that is given, by name; all of `skills` must match."""
    wanted = set(skills)
    found = [
        record
        for record in records
        if (role is None or record.role == role)
        and (node is None or record.node == node)
        and (state is None or record.state == state)
        and wanted <= set(record.skills)
    ]
    return sorted(found, key=lambda record: record.agent_id)


def presence(name: str, views: Sequence[NodeView]) -> Presence:
    """Return what `views` know of an agent, or of a node (`node:NAME`).

    An agent that two nodes tell of is where the lease holds. Raises AgentNotFound or NotFound, each with the
    nearest name.
    """
    if name.startswith(NODE):
        return _node_presence(name.removeprefix(NODE), views)
    found = [(view, record) for view in views for record in view.agents if record.agent_id == name]
    if not found:
        known = {record.agent_id for view in views for record in view.agents}
        cure = suggestion(name, known, otherwise="See them all: novactl agents")
        raise AgentNotFound(f"no agent {name!r} is registered.", cure)
    view, record = max(found, key=lambda pair: (pair[0].alive, pair[1].last_seen_ms))
    return Presence(
        name=record.agent_id,
        kind="agent",
        node=view.node,
        alive=view.alive,
        state=record.state.value if view.alive else AgentState.LOST.value,
        last_seen_ms=record.last_seen_ms,
    )


def _node_presence(name: str, views: Sequence[NodeView]) -> Presence:
    for view in views:
        if view.node == name:
            return Presence(
                name=name,
                kind="node",
                node=name,
                alive=view.alive,
                state="up" if view.alive else "lost",
                last_seen_ms=view.last_seen_ms,
            )
    known = [view.node for view in views]
    listed = ", ".join(sorted(known)) or "none"
    raise NotFound(f"no node {name!r} is known.", suggestion(name, known, otherwise=f"Known: {listed}."))
