"""A fleet for tasks: real engines on a real broker, several nodes in one process, agents that are simulated."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from nova_torch.broker import Broker
from nova_torch.errors import BrokerGivenUp, NotAllowed, NovaError
from nova_torch.nodes import pace
from nova_torch.sections import SigningSection
from nova_torch.signing import Keyring
from nova_torch.values import MessageId, NodeId, State
from noval_d.mailroom.seals import Seals
from noval_d.node.link import BrokerLink
from noval_d.tasks.assign import Candidate
from noval_d.tasks.copies import Copies
from noval_d.tasks.ground import Mine
from noval_d.tasks.task import Task, TaskId
from noval_d.tasks.tasks import Tasks


class StraightLink:
    """A connection that is always up."""

    lease_ok = True
    steady = True
    problem = ""
    pace = pace(1, beat_s=1.0, lease_s=3.0)

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    async def wait_up(self) -> Broker:
        return self.broker

    def failed(self, error: NovaError) -> None:
        assert isinstance(error, BrokerGivenUp), f"the broker failed: {error}"


class NoCopies:
    """Copies that nobody will need: the broker of this test loses nothing."""

    async def keep(self, task: Task, raw: bytes, now_ms: int) -> None: ...

    def of(self, name: TaskId) -> None: ...

    async def keep_longer(self, names: Iterable[TaskId], now_ms: int) -> None: ...

    def all(self, *, since_ms: int) -> list[tuple[Task, bytes]]:
        return []


@dataclass(slots=True)
class SimAgent:
    """An agent that works on what it is told, and can die with it."""

    name: str
    node: SimNode
    skills: frozenset[str]
    life: int = 1
    dead: bool = False
    told: set[MessageId] = field(default_factory=set)
    work: asyncio.Task[None] | None = None

    @property
    def mine(self) -> Mine:
        busy = self.work is not None and not self.work.done()
        why_not = "it is dead" if self.dead else "it is busy" if busy else ""
        return Mine(
            candidate=Candidate(
                agent=self.name, role="worker", skills=self.skills, node=self.node.name, why_not=why_not
            ),
            life=f"{self.name}.{self.life}",
            gone="it has exited" if self.dead else "",
        )

    def die(self) -> bool:
        """Die at once; True when it died with a task."""
        self.dead = True
        at_work = self.work is not None and not self.work.done()
        if self.work is not None:
            self.work.cancel()
        self.node.tasks.wake()
        return at_work

    def come_back(self) -> None:
        self.dead, self.work, self.life = False, None, self.life + 1
        self.node.tasks.wake()


class SimNode:
    """One node: the real engine, on agents that are simulated."""

    def __init__(self, name: str, fleet: Fleet, broker: Broker) -> None:
        self.name = NodeId(name)
        self.fleet = fleet
        self.link = cast("BrokerLink", StraightLink(broker))
        self.seals = Seals(
            self.name,
            SigningSection(),
            Keyring(()),
            clock_ms=self.now_ms,
            publish=self.publish,
            rejected=print,
        )
        self.agents: dict[str, SimAgent] = {}
        self.tasks = Tasks(
            self, cast("Copies", NoCopies()), takes=lambda: True, keep_days=7, remind_s=lambda: 0
        )

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def mine(self, _tallies: Mapping[str, Mapping[str, int]]) -> dict[str, Mine]:
        return {name: agent.mine for name, agent in self.agents.items()}

    async def others(self, _tallies: Mapping[str, Mapping[str, int]]) -> list[Candidate]:
        nodes = [node for node in self.fleet.nodes if node is not self]
        return [agent.mine.candidate for node in nodes for agent in node.agents.values()]

    async def lost(self, _node: str, _agent: str) -> str:
        return ""

    def message_state(self, message: MessageId) -> State | None:
        told = any(message in agent.told for agent in self.agents.values())
        return State.ACKNOWLEDGED if told else None

    async def tell(
        self, agent: str, body: str, message: MessageId, task: Task, headers: Mapping[str, str]
    ) -> None:
        there = self.agents[agent]
        assert message not in there.told, f"{agent} is told twice of {task.id}"
        there.told.add(message)
        if body.startswith("Task ") and "is not yours" not in body and not there.dead:
            self.fleet.begun[task.id] += 1
            there.work = asyncio.create_task(self._work(there, task.id))
            there.work.add_done_callback(lambda _: self.tasks.wake())  # as its state does

    async def _work(self, agent: SimAgent, task: TaskId) -> None:
        life = f"{agent.name}.{agent.life}"
        await asyncio.sleep(random.uniform(0.001, 0.02))

        def end(now: Task) -> Task:
            if (now.agent, now.life) != (agent.name, life):
                raise NotAllowed(f"{agent.name} has it no longer.")
            return now.done(f"by {agent.name}.{agent.life}", (), now_ms=self.now_ms(), by=agent.name)

        try:
            await self.tasks.moves.change(task, end, tally=lambda _old: {"done": 1})
        except NotAllowed:
            self.fleet.fenced += 1
        else:
            self.fleet.done[task] += 1

    def publish(self, event: dict[str, Any]) -> None:
        if self is self.fleet.nodes[0]:
            self.fleet.events[event["event"]] += 1


class Fleet:
    """Several nodes on one broker."""

    def __init__(self) -> None:
        self.nodes: list[SimNode] = []
        self.begun: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.fenced = 0
        """How often an agent that had lost its task wanted to end it."""

    async def all_done(self) -> None:
        """Return when every node knows that no task is open."""
        while any(node.tasks.known.open for node in self.nodes):  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    @property
    def agents(self) -> list[SimAgent]:
        return [agent for node in self.nodes for agent in node.agents.values()]


@contextlib.asynccontextmanager
async def fleet(connect: Any, *, nodes: int, agents: int, skills: tuple[str, ...]) -> AsyncIterator[Fleet]:
    """Run a fleet; each agent has two of the skills."""
    made = Fleet()
    brokers: list[Broker] = []
    async with contextlib.AsyncExitStack() as stack:
        for number in range(nodes):
            brokers.append(await stack.enter_async_context(await connect()))
            made.nodes.append(SimNode(f"node-{number}", made, brokers[-1]))
        for number in range(agents):
            node = made.nodes[number % nodes]
            own = frozenset((skills[number % len(skills)], skills[(number // 3) % len(skills)]))
            agent = SimAgent(f"agent-{number}", node, own)
            node.agents[agent.name] = agent
        loops = [
            asyncio.create_task(loop)
            for node in made.nodes
            for loop in (node.tasks.run(), node.tasks.run_log())
        ]
        try:
            yield made
        finally:
            for loop in loops:
                loop.cancel()
            ended = await asyncio.gather(*loops, return_exceptions=True)
    problems = [end for end in ended if isinstance(end, Exception)]
    assert not problems, problems
