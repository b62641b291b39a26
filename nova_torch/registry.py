"""Find agents among what the nodes tell, page by page, say why nobody was found, and what changed. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nova_torch.fleet import Gathered, NodeView, everybody, matching
from nova_torch.nearest import suggestion
from nova_torch.values import AgentRecord, AgentState

PAGE = 1000
"""Agents of a page unless said otherwise: about half a MB."""
PAGE_MOST = 5000
LISTED = "See them all: novactl agents"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Who is looked for: those that match all that is given."""

    role: str | None = None
    skills: tuple[str, ...] = ()
    node: str | None = None
    labels: tuple[str, ...] = ()
    """Labels of the agent's node: `gpu` is met by `gpu` and by `gpu=…`, `zone=eu` by itself."""
    state: str | None = None
    free: bool = False
    """Only who could begin something now: idle, nothing waiting, on a node that takes something new."""

    @property
    def narrows(self) -> bool:
        """Whether it leaves anybody out."""
        return self != Query()


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to an agent: joined, left, lost, back, moved, changed."""

    event: str
    now: AgentRecord
    before: AgentRecord | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the object of `agents --watch --json`."""
        told: dict[str, Any] = {"event": self.event, **self.now.to_json()}
        if self.before is not None:
            told["before"] = {"state": self.before.state.value, "node": self.before.node}
        return told


def find(views: Sequence[NodeView], query: Query, gathered: Gathered | None = None) -> Sequence[AgentRecord]:
    """Return the agents that match, by name; who looks again and again keeps them `gathered`, and reads at once."""
    found = (gathered or Gathered()).records(views)
    if not query.narrows:
        return found
    found = matching(found, role=query.role, skills=query.skills, node=query.node, state=query.state)
    if query.labels:
        there = {view.node for view in views if all(has_label(view, label) for label in query.labels)}
        found = [record for record in found if record.node in there]
    if query.free:
        taking = {view.node for view in views if view.takes}
        found = [r for r in found if r.available and not r.queued and r.node in taking]
    return found


def has_label(view: NodeView, label: str) -> bool:
    """Tell whether a node has this label."""
    wanted = label if "=" in label else None
    return any(
        own == label or (wanted is None and own.partition("=")[0] == label) for own in view.card.labels
    )


def page_of(
    found: Sequence[AgentRecord], *, after: str | None, limit: int
) -> tuple[Sequence[AgentRecord], str | None]:
    """Return the agents behind the name `after`, `limit` at most, and where the next page begins (None: nowhere).

    `found` is in the order of names, so a page is right whoever came and went since the one before.
    """
    from bisect import bisect_right

    begin = 0 if after is None else bisect_right(found, after, key=lambda record: str(record.agent_id))
    page = found[begin : begin + limit]
    return page, page[-1].agent_id if begin + limit < len(found) else None


def why_none(views: Sequence[NodeView], query: Query) -> tuple[str, str]:
    """Return why nobody matches, and what may have been meant: the first thing that nobody has at all."""
    records = everybody(views)
    if query.role is not None and query.role not in (roles := {r.role for r in records if r.role}):
        return f"nobody has the role {query.role!r}.", suggestion(query.role, roles, otherwise=LISTED)
    if told := _why_no_skills(records, query.skills):
        return told
    if query.node is not None and query.node not in (nodes := {view.node for view in views}):
        return f"there is no node {query.node!r}.", suggestion(
            query.node, nodes, otherwise="See them all: novactl node list"
        )
    for label in query.labels:
        if not any(has_label(view, label) for view in views):
            known = {own for view in views for own in view.card.labels}
            return f"no node has the label {label!r}.", suggestion(
                label, known, otherwise="See them all: novactl node list"
            )
    return "nobody matches all of it.", LISTED


def _why_no_skills(records: Iterable[AgentRecord], skills: Sequence[str]) -> tuple[str, str] | None:
    """Return which skill nobody has, or who has the most of them when nobody has them all."""
    owned = {record.agent_id: set(record.skills) for record in records}
    known = set().union(*owned.values())
    missing = [skill for skill in skills if skill not in known]
    if missing:
        listed = " or ".join(repr(skill) for skill in missing)
        return f"nobody has the skill {listed}.", suggestion(missing[0], known, otherwise=LISTED)
    wanted = set(skills)
    if not wanted or any(wanted <= has for has in owned.values()):
        return None
    best = max(sorted(owned), key=lambda name: len(wanted & owned[name]))
    lacks = ", ".join(sorted(wanted - owned[best]))
    has = ", ".join(sorted(wanted & owned[best]))
    return f"nobody has all of {', '.join(skills)}.", f"{best} has {has}, not {lacks}."


def changes(before: Mapping[str, AgentRecord], after: Mapping[str, AgentRecord]) -> list[Change]:
    """Return what happened between two looks, by the agents' names."""
    found: list[Change] = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if new is None:
            assert old is not None
            found.append(Change("left", old))
        elif old is None:
            found.append(Change("joined", new))
        elif old.node != new.node:
            found.append(Change("moved", new, old))
        elif _told(old) != _told(new):
            found.append(Change(_event(old, new), new, old))
    return found


def _event(old: AgentRecord, new: AgentRecord) -> str:
    if new.state is AgentState.LOST:
        return "lost"
    return "back" if old.state is AgentState.LOST else "changed"


def _told(record: AgentRecord) -> tuple[object, ...]:
    return (record.state, record.role, record.skills, record.queued, record.current_task, record.attention)
