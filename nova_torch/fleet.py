"""Read what nodes tell of themselves and their agents in the registry, and find one among them. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgpack

from nova_torch.errors import AgentNotFound, NotFound
from nova_torch.nearest import suggestion
from nova_torch.nodes import NodeCard, NodeState, state_of
from nova_torch.values import AgentRecord, AgentState

NODE = "node:"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """One node of the fleet as it last told of itself. `alive`: its lease holds by the broker's clock."""

    node: str
    alive: bool
    last_seen_ms: int = 0
    """When it last beat, ms since the epoch; 0: not told."""
    agents: tuple[AgentRecord, ...] = ()
    bridges: frozenset[str] = frozenset()
    """What it bridges: `stream:` or `channel:` and the name."""
    card: NodeCard = field(default_factory=NodeCard)
    silent_ms: int = 0
    """For how long its lease has been over."""
    order: str = ""
    """What it is ordered to do and has not done yet: drain or resume."""

    @property
    def state(self) -> NodeState:
        """Its state; one that is ordered to drain counts as draining already."""
        state = state_of(self.card, alive=self.alive, silent_ms=self.silent_ms)
        if state in (NodeState.READY, NodeState.DEGRADED) and self.order == "drain":
            return NodeState.DRAINING
        return state

    @property
    def takes(self) -> bool:
        """Whether something new may be placed here."""
        return self.state in (NodeState.READY, NodeState.DEGRADED)

    @property
    def free(self) -> int | None:
        """How many more agents it has room for; None: no limit is configured."""
        return max(0, self.card.max_agents - len(self.agents)) if self.card.max_agents else None

    def to_json(self) -> dict[str, Any]:
        """Return the row of `novactl node list`."""
        card = self.card
        return {
            "node": self.node,
            "state": self.state.value,
            "labels": list(card.labels),
            "agents": len(self.agents),
            "max_agents": card.max_agents,
            "free": self.free,
            "load": card.load.to_json(),
            "errors": list(card.errors),
            "version": card.version,
            "signing": card.signing,
            "signs": card.signs,
            "last_seen_ms": self.last_seen_ms,
            "silent_s": round(self.silent_ms / 1000, 1),
            "order": self.order,
            "drain": None if card.drain is None else card.drain.to_json(),
        }


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
    node: str,
    agents: Iterable[AgentRecord],
    *,
    now_ms: int,
    bridges: Sequence[str] = (),
    card: NodeCard | None = None,
) -> bytes:
    """Return what a node publishes of itself."""
    told = [agent.to_json() for agent in agents]
    about = {} if card is None else card.to_json()
    return bytes(
        msgpack.packb(
            {"node": node, "at_ms": now_ms, "agents": told, "bridges": list(bridges), "about": about}
        )
    )


def essence(agents: Iterable[AgentRecord], card: NodeCard, bridges: Sequence[str] = ()) -> bytes:
    """Return what of a node's blob is news when it changes.

    Not when an agent was seen last, not its figures, which change with every message, not what an idle agent is
    about to be given, and not the node's load: in a fleet at work each beat would carry the whole, and whoever
    reads the registry would decode all of it anew.
    """
    told = [agent.to_json() | {"last_seen_ms": 0, "performance": None} | _passing(agent) for agent in agents]
    return bytes(msgpack.packb([told, {**card.to_json(), "load": None}, list(bridges)]))


def _passing(agent: AgentRecord) -> dict[str, Any]:
    """Return what of an agent is gone before anybody could read it: what waits for an idle one is typed at once."""
    return {"queued": 0} if agent.state is AgentState.IDLE else {}


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
            card=NodeCard.from_json(data.get("about")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, msgpack.UnpackException):
        return None


def everybody(views: Iterable[NodeView]) -> list[AgentRecord]:
    """Return the agents of every node, by name; those of a node whose lease is over are `lost`.

    One that two nodes tell of (its node was lost, and it was started elsewhere) is where the lease holds.
    """
    found: dict[str, AgentRecord] = {}
    for view in sorted(views, key=lambda view: (view.alive, view.last_seen_ms)):
        for record in view.agents:
            found[record.agent_id] = record if view.alive else _lost(record)
    return [found[name] for name in sorted(found)]


def _lost(record: AgentRecord) -> AgentRecord:
    return replace(record, state=AgentState.LOST, detail=f"node {record.node} is not heard of")


def seen_by_lease(view: NodeView, *, expires_ms: int) -> NodeView:
    """Return `view` with the time of its last beat, which its lease tells: most beats say nothing else."""
    if not view.card.lease_ms:
        return view
    return replace(view, last_seen_ms=max(view.last_seen_ms, expires_ms - view.card.lease_ms))


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
