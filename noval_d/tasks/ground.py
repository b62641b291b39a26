"""What the tasks of a node stand on: its agents, those of others, its outbox and its events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from nova_torch.communication.compose import compose
from nova_torch.fleet import NodeView
from nova_torch.nodes import Load
from nova_torch.values import AgentId, AgentRecord, AgentState, Form, Kind, MessageId, NodeId, State
from noval_d.fleet.card import mine
from noval_d.mailroom.seals import Seals
from noval_d.tasks.assign import Candidate
from noval_d.tasks.task import Task

if TYPE_CHECKING:
    from noval_d.agents.agent import Agent
    from noval_d.node.link import BrokerLink
    from noval_d.node.node import Node

LOST_LEASES = 1.5
"""So many leases after that of its node is over, an agent's tasks are given to others."""
OTHERS_S, LOST_S = 1.0, 5.0
"""How old what is known of the other nodes may be: agents change all the time, and each change is a look here."""
GONE_MS = 10_000
"""So long an agent's pane may be away: tmux, or the watch of it, may only be slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mine:
    """An agent of this node."""

    candidate: Candidate
    life: str
    gone: str = ""
    """Why it can end nothing any more; empty: it lives."""
    rest_s: float = 0.0
    """For how long its turn has been over, nothing waiting for it; 0: it works, or nobody can tell."""


class Ground(Protocol):
    """What a node gives to its tasks."""

    name: NodeId
    link: BrokerLink
    seals: Seals

    def now_ms(self) -> int:
        """Return the time of day, ms since the epoch."""

    def mine(self, tallies: Mapping[str, Mapping[str, int]]) -> dict[str, Mine]:
        """Return the agents of this node."""

    async def others(self, tallies: Mapping[str, Mapping[str, int]]) -> list[Candidate]:
        """Return the agents of the other nodes that live."""

    async def lost(self, node: str, agent: str) -> str:
        """Return why an agent of another node can end nothing any more; empty: it may."""

    def message_state(self, message: MessageId) -> State | None:
        """Return what became of a message of this node; None: it was never accepted."""

    async def tell(
        self, agent: str, body: str, message: MessageId, task: Task, headers: Mapping[str, str]
    ) -> None:
        """Send a message to an agent of this node, once for each id. Raises StoreFailed and its kin."""

    def publish(self, event: dict[str, Any]) -> None:
        """Tell those who watch."""


class NodeGround:
    """A whole node as the ground."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.name = node.name
        self.link = node.broker
        self.seals = node.guard.seals

    def __repr__(self) -> str:
        return f"<NodeGround {self.name}>"

    def now_ms(self) -> int:
        """Return the time of day, ms since the epoch."""
        return self._node.clock_ms()

    def mine(self, tallies: Mapping[str, Mapping[str, int]]) -> dict[str, Mine]:
        """Return the agents of this node; one that another node serves by now is that one's."""
        node, now_ms = self._node, self._node.clock_ms()
        load = busy(node.meter.load)
        draining = "its node drains" if node.draining.drain is not None else ""
        return {
            record.agent_id: Mine(
                candidate=candidate(record, tallies, load=load, now_ms=now_ms, held=draining),
                life=_life(node.roster.agents[record.agent_id]),
                gone=_gone(record, now_ms) if node.tmux.state != "not_answering" else "",
                rest_s=_rest_s(node.roster.agents[record.agent_id], record, now_ms),
            )
            for record in mine(node)
        }

    async def others(self, tallies: Mapping[str, Mapping[str, int]]) -> list[Candidate]:
        """Return the agents of the other nodes that live."""
        now_ms = self._node.clock_ms()
        return [
            each
            for view in await self._node.others.views(fresh_s=OTHERS_S)
            for each in of_node(view, tallies, now_ms=now_ms)
        ]

    async def lost(self, node: str, agent: str) -> str:
        """Return why an agent of another node can end nothing any more; empty: it may."""
        if not self.link.steady:  # only who has beaten steadily himself can tell
            return ""
        told = self._silent(node, await self._node.others.views(fresh_s=LOST_S))
        # What is known may be from before that node came back and took the task: it is believed once it is fresh.
        return told and self._silent(node, await self._node.others.views(fresh_s=0.0))

    def _silent(self, node: str, views: Sequence[NodeView]) -> str:
        """Return why what is known of the nodes says that the agents of one can end nothing; empty: it does not."""
        if not views:
            return ""
        lost_ms = self.link.pace.lease_s * 1000 * LOST_LEASES
        for view in views:
            if view.node == node:
                silent = not view.alive and view.silent_ms >= lost_ms
                return f"node {node} is not heard of" if silent else ""
        return f"node {node} is not known any more"

    def message_state(self, message: MessageId) -> State | None:
        """Return what became of a message of this node; None: it was never accepted."""
        return self._node.outbox.state_of(message)

    async def tell(
        self, agent: str, body: str, message: MessageId, task: Task, headers: Mapping[str, str]
    ) -> None:
        """Send a message to an agent of this node, once for each id. Raises StoreFailed and its kin."""
        node = self._node
        made = compose(
            agent,
            body,
            now_ms=node.clock_ms(),
            message_id=message,
            sender=task.creator,
            priority=task.priority,
            kind=Kind.TASK,
            form=Form.AUTO,
            answer="none",  # it is ended by `task done`, not by an answer
            headers={
                "origin": node.name,
                "agent": agent,
                "answers": task.answers,
                "task": task.id,
                **headers,
            },
            max_bytes=node.config.delivery.max_body_bytes,
        )
        await node.outbox.accept(made, AgentId(agent), reason=f"task {task.id}, attempt {task.attempt}")

    def publish(self, event: dict[str, Any]) -> None:
        """Tell those who watch."""
        self._node.events.publish(event)


def candidate(
    record: AgentRecord,
    tallies: Mapping[str, Mapping[str, int]],
    *,
    load: float,
    now_ms: int,
    held: str = "",
) -> Candidate:
    """Return an agent as one that may get a task."""
    tally = tallies.get(record.agent_id, {})
    return Candidate(
        agent=record.agent_id,
        role=record.role,
        skills=frozenset(record.skills),
        node=record.node,
        why_not=held or _busy(record),
        load=load,
        done=tally.get("done", 0),
        failed=tally.get("failed", 0),
        idle_s=max(0, now_ms - record.state_since_ms) / 1000,
    )


def of_node(view: NodeView, tallies: Mapping[str, Mapping[str, int]], *, now_ms: int) -> list[Candidate]:
    """Return the agents of a node of the fleet; none of one that does not live."""
    if not view.alive:
        return []
    held = "" if view.takes else f"its node is {view.state.value}"
    load = busy(view.card.load)
    return [candidate(record, tallies, load=load, now_ms=now_ms, held=held) for record in view.agents]


def busy(load: Load) -> float:
    """Return how busy a machine is, 0 to 1."""
    return 0.0 if load.cpu_percent is None else load.cpu_percent / 100


def _busy(record: AgentRecord) -> str:
    if record.state is not AgentState.IDLE:
        return f"it is {record.state.value}"
    if record.current_task:
        return f"it has task {record.current_task}"
    return f"{record.queued} messages wait for it" if record.queued else ""


def _rest_s(agent: Agent, record: AgentRecord, now_ms: int) -> float:
    """Return how long its turn has been over. A line-based program has none: it looks idle while it works."""
    if agent.driver.kind == "line" or record.state is not AgentState.IDLE or record.queued:
        return 0.0
    return max(0, now_ms - record.state_since_ms) / 1000


def _gone(record: AgentRecord, now_ms: int) -> str:
    if record.state is AgentState.EXITED:
        return "it has exited"
    if record.state is AgentState.LOST and now_ms - record.state_since_ms > GONE_MS:
        return "its pane is gone"
    return ""


def _life(agent: Agent) -> str:
    """Return which pane and process an agent is; empty while its pane is not to be seen."""
    return f"{agent.facts.pane_id}.{agent.facts.pid}" if agent.facts is not None else ""
