"""Choose the node for something new: by labels, free room, what runs there and the load. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nova_torch.errors import Conflict, NotFound
from nova_torch.fleet import NodeView
from nova_torch.nearest import suggestion
from nova_torch.nodes import NodeState
from nova_torch.registry import has_label

AUTO = "auto"
UNKNOWN_LOAD = 100.0
"""Per cent. A machine that has not measured itself yet is taken last."""
NONE_COMING: Mapping[str, int] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One node, and whether and how well it fits."""

    node: str
    fits: bool
    why: str
    """What speaks against it, or what it was ranked by."""

    def to_json(self) -> dict[str, Any]:
        """Return the row of `spawn --dry-run`."""
        return {"node": self.node, "fits": self.fits, "why": self.why}


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The choice, with every node in the order in which it would be taken."""

    node: str
    why: str
    candidates: tuple[Candidate, ...]


def place(
    views: Sequence[NodeView],
    *,
    role: str,
    labels: Sequence[str] = (),
    node: str = AUTO,
    coming: Mapping[str, int] = NONE_COMING,
    avoid: Mapping[str, str] | None = None,
) -> Placement:
    """Return where an agent of `role` goes: on the best of the nodes that fit, or on the one that is named.

    `coming` is how many agents were sent to a node that it does not tell of yet, `avoid` why nodes are left out.
    Of those that fit first those without errors of their own, then the fewest agents of the role, the least busy
    processors, the fewest agents, the first name. Raises NotFound for an unknown node or label, Conflict when none
    fits, with what is wrong with each.
    """
    considered = [_named(views, node)] if node != AUTO else [view for view in views if view.alive]
    for label in labels:
        if not any(has_label(view, label) for view in views):
            known = sorted({own for view in views for own in view.card.labels})
            cure = suggestion(label, known, otherwise=f"There are: {', '.join(known) or 'none'}.")
            raise NotFound(f"no node has the label {label}.", cure)
    ranked = sorted(considered, key=lambda view: _rank(view, role, coming))
    candidates = [_candidate(view, role, labels, coming, avoid or {}) for view in ranked]
    candidates.sort(key=lambda one: not one.fits)
    if not candidates or not candidates[0].fits:
        told = "; ".join(f"{one.node} {one.why}" for one in candidates[:5]) or "no node lives"
        raise Conflict(f"no node takes an agent of the role {role}: {told}.", "See: novactl node list")
    best = candidates[0]
    others = len(candidates) - 1
    why = best.why if node == AUTO else "it was named"
    return Placement(
        node=best.node, why=why + (f"; best of {others + 1}" if others else ""), candidates=tuple(candidates)
    )


def _named(views: Collection[NodeView], name: str) -> NodeView:
    for view in views:
        if view.node == name:
            return view
    known = sorted(view.node for view in views)
    raise NotFound(
        f"no node {name!r} is known.",
        suggestion(name, [*known, AUTO], otherwise=f"Known: {', '.join(known)}."),
    )


def _rank(view: NodeView, role: str, coming: Mapping[str, int]) -> tuple[bool, int, float, int, str]:
    there = coming.get(view.node, 0)
    return (
        view.state is not NodeState.READY,
        sum(record.role == role for record in view.agents) + there,
        _load(view),
        len(view.agents) + there,
        view.node,
    )


def _candidate(
    view: NodeView, role: str, labels: Sequence[str], coming: Mapping[str, int], avoid: Mapping[str, str]
) -> Candidate:
    lacking = [label for label in labels if not has_label(view, label)]
    there = coming.get(view.node, 0)
    against = ""
    if not view.takes:
        against = f"is {view.state}"
    elif lacking:
        against = f"has no label {', '.join(lacking)}"
    elif view.free is not None and view.free - there <= 0:
        against = f"is full ({view.card.max_agents} agents at most)"
    elif view.node in avoid:
        against = "failed lately: " + avoid[view.node].rstrip(".")
    if against:
        return Candidate(node=view.node, fits=False, why=against)
    load = view.card.load.cpu_percent
    same = sum(record.role == role for record in view.agents) + there
    told = (
        *(("reports errors",) if view.state is not NodeState.READY else ()),
        f"{same} of the role there",
        "load not known yet" if load is None else f"{load:.0f} % busy",
        f"{len(view.agents) + there} agents"
        + (f" of {view.card.max_agents}" if view.card.max_agents else ""),
    )
    return Candidate(node=view.node, fits=True, why=", ".join(told))


def _load(view: NodeView) -> float:
    """Return how busy its processors are: measured over 15 s, and as a queue over the last minute."""
    load = view.card.load
    if load.cpu_percent is None:
        return UNKNOWN_LOAD
    queue = 100 * load.load_1m / load.cores if load.load_1m is not None and load.cores else 0.0
    return max(load.cpu_percent, min(queue, 400.0) // 25 * 25 if queue > 100 else 0.0)  # rough: it is no race
