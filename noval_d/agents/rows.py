"""Make the row of an agent that the fleet reads: anew only when something of it has changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nova_torch.performance import Performance
from nova_torch.values import AgentId, AgentRecord, AgentState, NodeId
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
        self._known: dict[AgentId, tuple[object, AgentRecord]] = {}
        """Of each agent its row, and what that was made of."""

    def __repr__(self) -> str:
        return f"<Rows {len(self._known)} agents>"

    def of(self, agent: Agent, queued: int, *, asked: bool) -> AgentRecord:
        """Return the row of `agent`: the very same one as before while nothing of it has changed.

        `queued`: how many messages wait for it; `asked`: whether a question may.
        """
        name = agent.id
        task, figures, tally = self._task_of(name, asked), self._performance_of(name), self._tally_of(name)
        made_of = _news(agent, queued, task), queued, agent.seen_ms, figures, tuple(tally.items())
        known = self._known.get(name)
        if known is None or known[0] != made_of:
            known = self._known[name] = made_of, self._make(agent, queued, task, figures.with_tasks(tally))
        return known[1]

    def news(self, agent: Agent, queued: int, *, asked: bool) -> object:
        """Return what of the row is news when it changes: something to compare.

        Not when the agent was seen last, not its figures, which change with every message, and not what an idle one
        is about to be given: in a fleet at work each beat would carry the whole, and whoever reads the registry
        would decode all of it anew.
        """
        return _news(agent, queued, self._task_of(agent.id, asked))

    def forget(self, agent: AgentId) -> None:
        """Keep the row of an agent that is gone no longer."""
        self._known.pop(agent, None)

    def _make(self, agent: Agent, queued: int, task: str, performance: Performance) -> AgentRecord:
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
            last_seen_ms=agent.seen_ms,
            current_task=task,
            state_source=agent.standing.source.value,
            detail=agent.standing.detail,
            attention=agent.attention.reason if agent.attention is not None else "",
            performance=performance,
        )


def _news(agent: Agent, queued: int, task: str) -> object:
    facts, standing, attention = agent.facts, agent.standing, agent.attention
    state = standing.state
    return (
        agent.spec, agent.driver.name, facts and (facts.pane_id, facts.session, facts.window_name),
        # what waits for an idle one is typed at once: gone before anybody could read of it
        state, agent.state_since_ms, 0 if state is AgentState.IDLE else queued, task, standing.source,
        standing.detail, attention and attention.reason,
    )  # fmt: skip
