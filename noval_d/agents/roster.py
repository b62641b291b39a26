"""The agents of this node: register and unregister, find their panes again, keep one worker each.

tmux is the local truth: a pane carries its agent's name, node and description as options, and a node touches no
pane of another. The state file remembers the agents whose panes are gone, so that their messages wait instead of
failing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Mapping
from dataclasses import replace

from nova_torch.errors import AgentNotFound, Conflict, InvalidRequest, NotFound, PaneNotFound
from nova_torch.nearest import suggestion
from nova_torch.performance import NOTHING_YET, Performance
from nova_torch.values import AGENT_ID, AgentId, AgentRecord, AgentSpec, NodeId, PaneId
from noval_d.agents.agent import Agent
from noval_d.agents.attention import Attention
from noval_d.agents.driver import Driver, stand_in
from noval_d.agents.rows import Rows
from noval_d.agents.spec import fitted, read_spec, write_spec
from noval_d.agents.states import Transition
from noval_d.delivery.worker import Worker
from noval_d.mailroom.store import Statement, Store
from noval_d.tmux.control import ControlClient
from noval_d.tmux.panes import PaneFacts, list_panes, set_pane_options

log = logging.getLogger("nova.agents")
EVERYBODY = "all"  # as a target

AGENT_OPTION = "@nova_agent"
NODE_OPTION = "@nova_node"
SPEC_OPTION = "@nova_spec"


class Roster:
    """Every agent that is registered on this node, with its worker."""

    def __init__(
        self,
        *,
        node: NodeId,
        store: Store,
        drivers: Mapping[str, Driver],
        clock: Callable[[], float],
        clock_ms: Callable[[], int],
        make_worker: Callable[[Agent], Worker],
        tell: Callable[[Agent, Transition | Attention | None], None] = lambda _agent, _news: None,
        emptied: Callable[[], None] = lambda: None,
        task_of: Callable[[AgentId, bool], str] = lambda _agent, _asked: "",
        in_question: Callable[[], Container[AgentId]] = tuple,
        performance_of: Callable[[AgentId], Performance] = lambda _agent: NOTHING_YET,
        tally_of: Callable[[AgentId], Mapping[str, int]] = lambda _agent: {},
    ) -> None:
        self._node = node
        self._store = store
        self.drivers = drivers
        self._clock = clock
        self._clock_ms = clock_ms
        self._make_worker = make_worker
        self._tell = tell
        self._emptied = emptied
        self._rows = Rows(node, task_of=task_of, performance_of=performance_of, tally_of=tally_of)
        self._in_question = in_question
        self.agents: dict[AgentId, Agent] = {}
        self.workers: dict[AgentId, Worker] = {}
        self.server = ""

    def __repr__(self) -> str:
        return f"<Roster {len(self.agents)} agents>"

    def load(self) -> None:
        """Bring back the agents that the state file remembers, without panes for now."""
        for row in self._store.read("SELECT agent, spec, paused FROM agents ORDER BY agent"):
            spec = read_spec(row["agent"], row["spec"])
            if spec is not None:
                self._add(spec).paused = bool(row["paused"])

    def get(self, agent_id: str) -> Agent:
        """Return a registered agent. Raises AgentNotFound with the nearest name."""
        agent = self.agents.get(AgentId(agent_id))
        if agent is None:
            cure = suggestion(agent_id, self.agents, otherwise="See them all: novactl agents")
            raise AgentNotFound(f"no agent {agent_id!r} is registered on node {self._node}.", cure)
        return agent

    def of_pane(self, pane_id: str) -> Agent | None:
        """Return the agent whose pane this is, or None."""
        for agent in self.agents.values():
            if agent.facts is not None and agent.facts.pane_id == pane_id:
                return agent
        return None

    async def register(self, spec: AgentSpec, pane: PaneFacts, client: ControlClient) -> Agent:
        """Register `spec` in `pane`: option in the pane, row in the state file, worker.

        An agent that is registered already moves here and keeps its messages. Raises InvalidRequest for a bad
        name or driver and Conflict when another agent has the pane.
        """
        self._check(spec)
        if pane.nova_agent and self._foreign(pane):
            raise Conflict(
                f"pane {pane.pane_id} belongs to agent {pane.nova_agent} of node {pane.nova_node}.",
                "Unregister it there, or, if that node is gone: "
                f"tmux set-option -p -u -t {pane.pane_id} {AGENT_OPTION}",
            )
        holder = self.of_pane(pane.pane_id)
        if holder is not None and holder.id != spec.agent_id:
            raise Conflict(
                f"pane {pane.pane_id} belongs to agent {holder.id}.", f"First: novactl unregister {holder.id}"
            )
        for other in await list_panes(client):  # one name, one pane: also one whose agent is lost right now
            if (
                other.nova_agent == spec.agent_id
                and other.pane_id != pane.pane_id
                and not self._foreign(other)
            ):
                await self._unmark(client, other.pane_id)
        packed = write_spec(spec)
        marks = {AGENT_OPTION: spec.agent_id, NODE_OPTION: self._node, SPEC_OPTION: packed}
        await set_pane_options(client, pane.pane_id, marks)
        await self._store.write(
            Statement(
                "INSERT INTO agents (agent, spec) VALUES (?, ?)"
                " ON CONFLICT (agent) DO UPDATE SET spec = excluded.spec",
                (spec.agent_id, packed.encode()),
            )
        )
        agent = self.agents.get(spec.agent_id) or self._add(spec)
        agent.spec, agent.driver = spec, fitted(self.drivers[spec.driver], spec)
        agent.moved(replace(pane, nova_agent=spec.agent_id, nova_node=self._node), self.server)
        log.info(
            "agent.registered", extra={"agent": spec.agent_id, "pane": pane.pane_id, "driver": spec.driver}
        )
        return agent

    def check_new(self, spec: AgentSpec) -> None:
        """Raise InvalidRequest, NotFound (driver) or Conflict when no new agent can be registered so."""
        self._check(spec)
        if spec.agent_id in self.agents:
            raise Conflict(
                f"there is an agent {spec.agent_id} already.",
                f"Take another --id, or end that one: novactl stop {spec.agent_id}",
            )

    async def expect(self, spec: AgentSpec, *along: Statement) -> Agent:
        """Register an agent whose pane is still to come, in one transaction with `along`.

        Raises InvalidRequest, NotFound (driver) and Conflict when the name is taken.
        """
        self.check_new(spec)
        await self._store.write(
            Statement(
                "INSERT INTO agents (agent, spec) VALUES (?, ?)", (spec.agent_id, write_spec(spec).encode())
            ),
            *along,
        )
        agent = self._add(spec)
        agent.launching = True
        agent.restate()
        return agent

    async def unregister(self, agent_id: str, client: ControlClient | None) -> tuple[Agent, Worker]:
        """Forget an agent; return it and its worker, whose messages the caller settles."""
        agent = self.get(agent_id)
        await self._store.write(Statement("DELETE FROM agents WHERE agent = ?", (agent.id,)))
        if agent.facts is not None and client is not None:
            await self._unmark(client, agent.facts.pane_id)
        del self.agents[agent.id]
        worker = self.workers.pop(agent.id)
        self._rows.forget(agent.id)
        log.info("agent.unregistered", extra={"agent": agent.id})
        return agent, worker

    async def pause(self, agent_id: str, paused: bool) -> Agent:
        """Hold, or stop holding, every message of an agent; lasts over restarts."""
        agent = self.get(agent_id)
        await self._store.write(
            Statement(
                "INSERT INTO agents (agent, spec, paused) VALUES (?, ?, ?)"
                " ON CONFLICT (agent) DO UPDATE SET paused = excluded.paused",
                (agent.id, write_spec(agent.spec).encode(), int(paused)),
            )
        )
        agent.paused = paused
        agent.restate()
        agent.wake.set()
        return agent

    async def adopt(self, client: ControlClient) -> None:
        """Find the agents' panes on a (new) tmux server: whoever carries a name is that agent."""
        self.server = f"{client.server.pid}.{client.server.started_s}"
        self.follow(await list_panes(client))

    def follow(self, panes: tuple[PaneFacts, ...]) -> None:
        """Take over what the server's panes are now; an agent without a pane is lost until it is seen again."""
        marked: dict[AgentId, PaneFacts] = {}
        for pane in panes:
            if not pane.nova_agent or self._foreign(pane):
                continue
            name = AgentId(pane.nova_agent)
            if name not in self.agents:
                spec = read_spec(pane.nova_agent, pane.nova_spec)
                if spec is None or spec.driver not in self.drivers:
                    log.warning("agent.unreadable", extra={"pane": pane.pane_id})
                    continue
                self._add(spec)
                log.info("agent.adopted", extra={"agent": name, "pane": pane.pane_id})
            marked.setdefault(name, pane)
        for agent in self.agents.values():
            facts = marked.get(agent.id)
            if facts is None and agent.facts is None:
                continue
            agent.moved(facts, self.server)

    def _foreign(self, pane: PaneFacts) -> bool:
        return pane.nova_node not in ("", self._node)

    def lose_all(self) -> None:
        """The tmux server does not answer any more: no agent has a pane that could be typed into."""
        for agent in self.agents.values():
            agent.moved(None, agent.server)

    def records(self) -> list[AgentRecord]:
        """Return the rows of all agents."""
        row, workers, asked = self._rows.of, self.workers, self._in_question()
        return [row(agent, workers[name].in_hand, asked=name in asked) for name, agent in self.agents.items()]

    def news(self, *, but: Container[AgentId] = ()) -> list[object]:
        """Return what is news of the agents, without some, when it changes."""
        news, workers = self._rows.news, self.workers
        asked = self._in_question()  # once, since each beat comes by here
        return [
            news(agent, workers[name].in_hand, asked=name in asked)
            for name, agent in self.agents.items()
            if name not in but
        ]

    def record(self, agent: Agent, queued: int, *, asked: bool = True) -> AgentRecord:
        """Return the row that `novactl agents` shows. Not `asked`: it is known that no question waits for it."""
        return self._rows.of(agent, queued, asked=asked)

    def _add(self, spec: AgentSpec) -> Agent:
        driver = self.drivers.get(spec.driver) or stand_in(spec.driver)
        agent = Agent(spec=spec, driver=fitted(driver, spec), clock=self._clock, clock_ms=self._clock_ms)
        agent.restate()
        self.agents[agent.id] = agent
        self.workers[agent.id] = worker = self._make_worker(agent)
        agent.waiting = lambda: worker.in_hand
        agent.emptied = self._emptied
        agent.tell = lambda news: self._tell(agent, news)
        return agent

    def _check(self, spec: AgentSpec) -> None:
        if not AGENT_ID.match(spec.agent_id):
            raise InvalidRequest(
                f"{spec.agent_id!r} is not an agent's name.",
                "Use letters, digits, '_', '.', '-', 64 at most.",
            )
        if spec.agent_id == EVERYBODY:
            raise InvalidRequest(f"{EVERYBODY!r} means every agent.", "Take another name.")
        if spec.driver not in self.drivers:
            known = suggestion(
                spec.driver, self.drivers, otherwise=f"Known: {', '.join(sorted(self.drivers))}."
            )
            raise NotFound(f"there is no driver {spec.driver!r}.", known)

    @staticmethod
    async def _unmark(client: ControlClient, pane: PaneId) -> None:
        try:
            await set_pane_options(client, pane, {AGENT_OPTION: None, NODE_OPTION: None, SPEC_OPTION: None})
        except PaneNotFound:
            log.info("agent.pane_gone", extra={"pane": pane})
