"""What a node tells of itself beside its agents, which state that is, and how often it tells it. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from nova_torch.errors import ConfigInvalid

LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,62}(=[A-Za-z0-9_./-]{1,63})?\Z")
AT_EASE = 300
"""So many nodes beat as often as configured; more of them do it more seldom, so that the broker's load stays."""
SLOWEST = 6.0
"""Beats and leases grow to so many times what is configured, no further."""
SAID_AGAIN = 3.0
"""The whole is said again after so many beats, changed or not (anti-entropy)."""
SOON_MOST_S = 5.0
DOWN_MS = 300_000
"""A node whose lease is over for longer than this is down; before, it may only be cut off."""


class NodeState(StrEnum):
    """How a node is, by its own word and by its lease."""

    READY = "ready"
    DEGRADED = "degraded"
    """It lives and reports an error of its own."""
    DRAINING = "draining"
    DISCONNECTED = "disconnected"
    """Its lease is over, and it did not say that it leaves: cut off, or dead."""
    DOWN = "down"
    """It left in order, or has been silent for five minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often a node beats, for how long that is a lease, and when it says the whole."""

    beat_s: float
    lease_s: float
    again_s: float
    """When what did not change is said again."""
    soon_s: float
    """What changed is told no sooner than this after the last beat: changes in between are told together."""


def pace(nodes: int, *, beat_s: float, lease_s: float) -> Pace:
    """Return the pace of a fleet of so many living nodes; `beat_s` and `lease_s` are the configured ones."""
    slower = min(SLOWEST, max(1.0, nodes / AT_EASE))
    return Pace(
        beat_s=beat_s * slower,
        lease_s=lease_s * slower,
        again_s=beat_s * slower * SAID_AGAIN,
        soon_s=min(SOON_MOST_S, beat_s, nodes / AT_EASE),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """A node takes nothing new. `deadline_ms`: what is open then is not waited for any longer."""

    since_ms: int
    deadline_ms: int | None = None
    by: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as it travels."""
        return {"since_ms": self.since_ms, "deadline_ms": self.deadline_ms, "by": self.by}

    @classmethod
    def from_json(cls, data: object) -> Drain | None:
        """Read it; None for what is none."""
        if not isinstance(data, Mapping) or not isinstance(data.get("since_ms"), int):
            return None
        deadline = data.get("deadline_ms")
        return cls(
            since_ms=data["since_ms"],
            deadline_ms=deadline if isinstance(deadline, int) else None,
            by=str(data.get("by") or ""),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the machine of a node has to do; None: not measured yet."""

    cpu_percent: float | None = None
    memory_percent: float | None = None
    load_1m: float | None = None
    cores: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as it travels."""
        return {
            "cpu_percent": self.cpu_percent,
            "memory_percent": self.memory_percent,
            "load_1m": self.load_1m,
            "cores": self.cores,
        }

    @classmethod
    def from_json(cls, data: object) -> Load:
        """Read it; what is missing or no number is None."""
        given = data if isinstance(data, Mapping) else {}

        def number(name: str) -> float | None:
            value = given.get(name)
            return float(value) if isinstance(value, (int, float)) else None

        cores = given.get("cores")
        return cls(
            cpu_percent=number("cpu_percent"),
            memory_percent=number("memory_percent"),
            load_1m=number("load_1m"),
            cores=cores if isinstance(cores, int) else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCard:
    """What a node tells of itself beside its agents."""

    version: str = ""
    labels: tuple[str, ...] = ()
    max_agents: int = 0
    """0: no limit."""
    lease_ms: int = 0
    errors: tuple[str, ...] = ()
    """Codes of its own findings that are errors (`doctor`)."""
    drain: Drain | None = None
    left: bool = False
    """It ended in order and said so."""
    load: Load = field(default_factory=Load)
    signing: str = ""
    """Its `signing.mode`: what it takes from the broker. Empty: it is of a version that does not say."""
    signs: bool | None = None
    """Whether it has a key to sign with; None: it is of a version that does not say."""

    def to_json(self) -> dict[str, Any]:
        """Return it as it travels."""
        return {
            "version": self.version,
            "labels": list(self.labels),
            "max_agents": self.max_agents,
            "lease_ms": self.lease_ms,
            "errors": list(self.errors),
            "drain": None if self.drain is None else self.drain.to_json(),
            "left": self.left,
            "load": self.load.to_json(),
            "signing": self.signing,
            "signs": self.signs,
        }

    @classmethod
    def from_json(cls, data: object) -> NodeCard:
        """Read it; a node of an older version tells nothing of this."""
        if not isinstance(data, Mapping):
            return cls()
        most, lease, signs = data.get("max_agents"), data.get("lease_ms"), data.get("signs")
        return cls(
            version=str(data.get("version") or ""),
            labels=_texts(data.get("labels")),
            max_agents=most if isinstance(most, int) else 0,
            lease_ms=lease if isinstance(lease, int) else 0,
            errors=_texts(data.get("errors")),
            drain=Drain.from_json(data.get("drain")),
            left=bool(data.get("left")),
            load=Load.from_json(data.get("load")),
            signing=str(data.get("signing") or ""),
            signs=signs if isinstance(signs, bool) else None,
        )


def state_of(card: NodeCard, *, alive: bool, silent_ms: int) -> NodeState:
    """Return the state of a node whose lease holds (`alive`) or has been over for `silent_ms`."""
    if not alive:
        return NodeState.DOWN if card.left or silent_ms > DOWN_MS else NodeState.DISCONNECTED
    if card.drain is not None:
        return NodeState.DRAINING
    return NodeState.DEGRADED if card.errors else NodeState.READY


def check_labels(labels: Sequence[str]) -> None:
    """Raise ConfigInvalid for a label that is none, or for two values of one."""
    names: set[str] = set()
    for label in labels:
        if not LABEL.match(label):
            raise ConfigInvalid(
                f"node.labels has {label!r}.",
                "A label is a word or name=value of letters, digits, '_', '.', '/', '-'.",
            )
        name = label.partition("=")[0]
        if name in names:
            raise ConfigInvalid(f"node.labels has {name!r} twice.", "Give each label one value.")
        names.add(name)


def last_of(roles: Mapping[str, Iterable[tuple[str, bool]]], node: str) -> list[str]:
    """Return the roles that nobody has any more when `node` takes nothing new.

    `roles` has for each role the nodes with an agent of it, and whether each takes something new now.
    """
    alone = []
    for role, places in roles.items():
        held = list(places)
        if any(name == node for name, _ in held) and not any(takes for name, takes in held if name != node):
            alone.append(role)
    return sorted(alone)


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, (list, tuple)) else ()
