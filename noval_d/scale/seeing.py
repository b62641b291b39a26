"""See the fleet as scaling does: its agents, and the tasks that wait for more of them. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from nova_torch.fleet import NodeView, everybody
from nova_torch.nodes import NodeState
from nova_torch.scaling import Scaling
from nova_torch.templates import Template
from nova_torch.values import AgentState
from noval_d.scale.decide import Backlog, Seen
from noval_d.tasks.graph import standing

if TYPE_CHECKING:
    from noval_d.tasks.known import Known
    from noval_d.tasks.task import Task


class Sight:
    """The agents as this node has seen them: idle is only who was idle all the time that it has looked.

    An agent's own state says less: between two tasks, and with one that is not typed yet, it may be idle for long.
    """

    def __init__(self) -> None:
        self._free_since: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Sight {len(self._free_since)} free>"

    def look(self, views: Iterable[NodeView], holding: Mapping[str, str], now_ms: int) -> list[Seen]:
        """Return every agent that is there or may come back: those of nodes that are down for good are not."""
        found, before = [], self._free_since
        self._free_since = {}
        for record in everybody(view for view in views if view.state is not NodeState.DOWN):
            occupied = bool(record.queued or record.current_task or record.agent_id in holding)
            since_ms = record.state_since_ms
            if not occupied and record.state in (AgentState.IDLE, AgentState.EXITED):
                since_ms = max(
                    since_ms,
                    self._free_since.setdefault(record.agent_id, before.get(record.agent_id, now_ms)),
                )
            found.append(
                Seen(
                    agent=record.agent_id,
                    role=record.role,
                    node=record.node,
                    state=record.state,
                    for_s=max(0, now_ms - since_ms) / 1000,
                    occupied=occupied,
                )
            )
        return found


def could_be_started(scaling: Scaling, templates: Mapping[str, Template], task: Task) -> bool:
    """Tell whether scaling starts agents that could take a task."""
    rule = scaling.rules.get(task.role)
    return rule is not None and rule.max > 0 and set(task.skills) <= set(templates[rule.template].skills)


def backlogs(
    scaling: Scaling, templates: Mapping[str, Template], known: Known, now_ms: int
) -> dict[str, Backlog]:
    """Return by role what waits: ready tasks of the role that an agent of its template could take."""
    found: dict[str, list[int]] = {role: [] for role in scaling.rules}
    for task in known.open:
        ready = not task.wanted and standing(task, known.tasks.get)[0] == "ready"
        if ready and could_be_started(scaling, templates, task):
            found[task.role].append(task.since_ms)
    return {
        role: Backlog(tasks=len(since), oldest_s=max(0, now_ms - min(since)) / 1000 if since else 0.0)
        for role, since in found.items()
    }
