"""What nodes tell of themselves and their agents in the registry, and how one is found among them. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

from nova_torch.errors import AgentNotFound, NotFound
from nova_torch.nearest import suggestion
from nova_torch.nodes import NodeCard, NodeState, state_of
from nova_torch.values import AgentId, AgentRecord, AgentState

NODE = "node:"


class Roll(tuple[AgentRecord, ...]):  # noqa: SLOT001 - what is made once is kept in its dictionary
    """The agents that a node tells of, and what is made of them once, however often they are looked at."""

    by_row: Mapping[bytes, AgentRecord] = MappingProxyType({})
    """Each under its row, as the node packed it; nothing when they were not read from one."""
    _lost: tuple[int, dict[AgentId, AgentRecord]] | None = None

    @cached_property
    def by_name(self) -> dict[AgentId, AgentRecord]:
        """Each under its name."""
        return {record.agent_id: record for record in self}

    def lost(self, seen_ms: int) -> dict[AgentId, AgentRecord]:
        """Each as it is while its node, which was heard of last at this time, is away."""
        if self._lost is None or self._lost[0] != seen_ms:
            self._lost = (seen_ms, {name: _lost(record, seen_ms) for name, record in self.by_name.items()})
        return self._lost[1]


def roll_of(agents: Sequence[AgentRecord]) -> Roll:
    """Return these agents as a roll."""
    return agents if isinstance(agents, Roll) else Roll(agents)


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

    @property
    def by_name(self) -> Mapping[AgentId, AgentRecord]:
        """Its agents, each under its name; `lost` when its lease is over."""
        roll = roll_of(self.agents)
        return roll.by_name if self.alive else roll.lost(self.last_seen_ms)

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


def everybody(views: Iterable[NodeView]) -> list[AgentRecord]:
    """Return the agents of every node, by name; those of a node whose lease is over are `lost`.

    One that two nodes tell of (its node was lost, and it was started elsewhere) is where the lease holds.
    """
    found: dict[AgentId, AgentRecord] = {}
    for view in sorted(views, key=lambda view: (view.alive, view.last_seen_ms)):
        found.update(view.by_name)
    return [found[name] for name in sorted(found)]


def _lost(record: AgentRecord, seen_ms: int) -> AgentRecord:
    """Return it as lost since its node was heard of last."""
    return replace(
        record,
        state=AgentState.LOST,
        state_since_ms=max(record.state_since_ms, seen_ms),
        detail=f"node {record.node} is not heard of",
    )


class Gathered:
    """The agents of all nodes by name, from one look to the next: only nodes that changed are taken in anew."""

    def __init__(self) -> None:
        self._told: dict[str, Mapping[AgentId, AgentRecord]] = {}
        """Of each node what it told of its agents."""
        self._records: list[AgentRecord] = []
        self._places: dict[AgentId, int] = {}
        self._apart = False
        """Whether no agent is told of by two nodes."""

    def __repr__(self) -> str:
        return f"<Gathered {len(self._records)} agents of {len(self._told)} nodes>"

    def records(self, views: Sequence[NodeView]) -> Sequence[AgentRecord]:
        """Return the agents as `everybody` does: to be read before the next call, and not to be changed."""
        before, self._told = self._told, {view.node: view.by_name for view in views}
        changed = [node for node, told in self._told.items() if told is not before.get(node)]
        if (
            self._apart
            and len(views) == len(self._told)
            and before.keys() == self._told.keys()
            and all(before[node].keys() == self._told[node].keys() for node in changed)
        ):
            for node in changed:
                for name, record in self._told[node].items():
                    self._records[self._places[name]] = record
        else:
            self._records = everybody(views)
            self._places = {record.agent_id: place for place, record in enumerate(self._records)}
            self._apart = len(self._records) == sum(len(view.agents) for view in views)
        return self._records


def matching(
    records: Iterable[AgentRecord],
    *,
    role: str | None = None,
    skills: Sequence[str] = (),
    node: str | None = None,
    state: str | None = None,
) -> list[AgentRecord]:
    """Return the agents that match everything that is given, in the order given; all of `skills` must match."""
    if role is not None:
        records = [record for record in records if record.role == role]
    if node is not None:
        records = [record for record in records if record.node == node]
    if state is not None:
        records = [record for record in records if record.state == state]
    if skills:
        wanted = set(skills)
        records = [record for record in records if wanted.issubset(record.skills)]
    return list(records)


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
