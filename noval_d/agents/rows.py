"""Make the row of an agent that the fleet reads: anew only when something of it has changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nova_torch.performance import NOTHING_YET, Performance
from nova_torch.values import AgentId, AgentRecord, NodeId
from noval_d.agents.agent import Agent


class Rows:
    """The rows of a node's agents. Each beat asks for all of them, and most are as they were."""

    def __init__(
        self,
        node: NodeId,
        *,
        task_of: Callable[[AgentId, bool], str],
        performance_of: Callable[[AgentId], Performance],
        tally_of: Callable[[AgentId], Mapping[str, int]],
    ) -> None:
        self._node = node
        self._task_of = task_of
        self._performance_of = performance_of
        self._tally_of = tally_of
        self._lasting: dict[AgentId, tuple[tuple[object, ...], AgentRecord]] = {}
        """Of each agent what lasts of its row, and what that was made of."""
        self._whole: dict[AgentId, tuple[AgentRecord, tuple[object, ...], AgentRecord]] = {}
        """Of each agent its row, what lasts of it, and what passes."""

    def __repr__(self) -> str:
        return f"<Rows {len(self._lasting)} agents>"

    def of(self, agent: Agent, queued: int, *, asked: bool) -> AgentRecord:
        """Return the row of `agent`: the very same one as before while nothing of it has changed.

        `queued`: how many messages wait for it; `asked`: whether a question may.
        """
        lasts, name = self.lasting(agent, queued, asked=asked), agent.id
        figures, tally = self._performance_of(name), self._tally_of(name)
        passes = agent.seen_ms, figures, tuple(tally.items())
        known = self._whole.get(name)
        if known is None or known[0] is not lasts or known[1] != passes:
            whole = self._make(agent, queued, lasts.current_task, agent.seen_ms, figures.with_tasks(tally))
            known = self._whole[name] = lasts, passes, whole
        return known[2]

    def lasting(self, agent: Agent, queued: int, *, asked: bool) -> AgentRecord:
        """Return the row without what is no news: when the agent was seen, and its figures."""
        name, facts, standing, attention = agent.id, agent.facts, agent.standing, agent.attention
        task = self._task_of(name, asked)
        made_of = (
            agent.spec, agent.driver.name, facts and (facts.pane_id, facts.session, facts.window_name),
            standing.state, agent.state_since_ms, queued, task, standing.source, standing.detail,
            attention and attention.reason,
        )  # fmt: skip
        known = self._lasting.get(name)
        if known is None or known[0] != made_of:
            known = self._lasting[name] = made_of, self._make(agent, queued, task, 0, NOTHING_YET)
        return known[1]

    def forget(self, agent: AgentId) -> None:
        """Keep the row of an agent that is gone no longer."""
        self._lasting.pop(agent, None)
        self._whole.pop(agent, None)

    def _make(
        self, agent: Agent, queued: int, task: str, seen_ms: int, performance: Performance
    ) -> AgentRecord:
        facts = agent.facts
        return AgentRecord(
            agent_id=agent.id,
            role=agent.spec.role,
            skills=agent.spec.skills,
            node=self._node,
            driver=agent.driver.name,
            pane=facts.pane_id if facts else "",
            session=facts.session if facts else "",
            window=facts.window_name if facts else "",
            state=agent.state,
            state_since_ms=agent.state_since_ms,
            queued=queued,
            last_seen_ms=seen_ms,
            current_task=task,
            state_source=agent.standing.source.value,
            detail=agent.standing.detail,
            attention=agent.attention.reason if agent.attention is not None else "",
            performance=performance,
        )
