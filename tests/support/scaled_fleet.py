"""A role's agents and tasks on a clock of their own, and what scaling decides about them."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import pairwise

from nova_torch.scaling import ScaleRule, Scaling
from nova_torch.values import AgentState
from noval_d.scale.decide import HOLD, Backlog, Decision, Seen, decide
from noval_d.scale.history import Action, Stand, Way, action_id, kept

NOON = 1_800_000_000_000
START_S = 20
"""What an agent takes from its start until it is idle."""


def rule(**more: object) -> ScaleRule:
    base = ScaleRule(
        template="worker", max=4, budget_per_day=100, up_cooldown_s=60, down_cooldown_s=300, idle_s=120
    )
    return replace(base, **more)  # type: ignore[arg-type]


def scaling(cap: int = 20, **rules: ScaleRule) -> Scaling:
    return Scaling(hard_cap=cap, rules=rules)


def agent(
    name: str, state: AgentState = AgentState.IDLE, *, for_s: float = 0, occupied: bool = False
) -> Seen:
    return Seen(agent=name, role="worker", node="n", state=state, for_s=for_s, occupied=occupied)


def act(name: str, way: Way, at_ms: int, stand: Stand = Stand.DONE) -> Action:
    return Action(
        id=action_id("worker", way, at_ms, int(name.rpartition("-")[2] or 0)), role="worker", way=way, at_ms=at_ms,
        agent=name, node="n", why="", stand=stand,
    )  # fmt: skip


@dataclass
class Fleet:
    """A role's agents and tasks, moved by the clock alone; what is decided is done at once, or fails."""

    config: Scaling
    now_ms: int = NOON
    agents: dict[str, Seen] = field(default_factory=dict)
    since: dict[str, int] = field(default_factory=dict)
    ends: list[tuple[int, str]] = field(default_factory=list)
    queue: list[tuple[int, int]] = field(default_factory=list)
    past: dict[str, Action] = field(default_factory=dict)
    made: list[tuple[int, Decision]] = field(default_factory=list)
    waited_s: list[float] = field(default_factory=list)
    most: int = 0
    done: Counter[str] = field(default_factory=Counter)
    """How many tasks each agent has had."""
    in_vain: list[str] = field(default_factory=list)
    """Who was stopped and had none."""

    def become(self, name: str, state: AgentState) -> None:
        self.agents[name] = agent(name, state)
        self.since[name] = self.now_ms

    def step(self, come: int, each_s: int, seconds: int = 5) -> None:
        self.now_ms += seconds * 1000
        self.queue += [(self.now_ms, each_s)] * come
        while self.ends and self.ends[0][0] <= self.now_ms:
            self.become(heapq.heappop(self.ends)[1], AgentState.IDLE)
        for name, seen in list(self.agents.items()):
            if seen.state is AgentState.IDLE and self.queue:
                since, takes_s = self.queue.pop(0)
                self.waited_s.append((self.now_ms - since) / 1000)
                self.become(name, AgentState.BUSY)
                self.done[name] += 1
                heapq.heappush(self.ends, (self.now_ms + takes_s * 1000, name))
        there = [
            replace(seen, for_s=(self.now_ms - self.since[name]) / 1000) for name, seen in self.agents.items()
        ]
        oldest_s = (self.now_ms - self.queue[0][0]) / 1000 if self.queue else 0.0
        self.past = kept(self.past, self.agents, self.now_ms)
        waits = {"worker": Backlog(tasks=len(self.queue), oldest_s=oldest_s)}
        for decision in decide(self.config, there, waits, self.past.values(), self.now_ms):
            self.carry_out(decision)
        self.most = max(self.most, len(self.agents))

    def carry_out(self, decision: Decision) -> None:
        self.made.append((self.now_ms, decision))
        for number in range(decision.count):
            name = f"w-{self.now_ms}-{number}"
            self.note(name, Way.UP, number)
            self.become(name, AgentState.STARTING)
            heapq.heappush(self.ends, (self.now_ms + START_S * 1000, name))
        for number, seen in enumerate(decision.agents):
            assert self.agents[seen.agent].state is AgentState.IDLE
            del self.agents[seen.agent]
            self.in_vain += [] if self.done[seen.agent] else [seen.agent]
            self.note(seen.agent, Way.DOWN, number)

    def note(self, name: str, way: Way, number: int) -> None:
        made = action_id("worker", way, self.now_ms, number)
        self.past[made] = replace(act("w-0", way, self.now_ms), id=made, agent=name)

    def turns(self) -> list[tuple[str, float]]:
        """Return each change of direction: to where, and how long after the decision before (seconds)."""
        moved = [(at_ms, decision.way) for at_ms, decision in self.made if decision.way != HOLD]
        return [(b, (later - sooner) / 1000) for (sooner, a), (later, b) in pairwise(moved) if a != b]

    def flapped(self, limits: ScaleRule) -> list[tuple[str, float]]:
        """Return the changes of direction that came sooner after the decision before than `limits` want it."""
        cooldown_s = {"up": limits.up_cooldown_s, "down": limits.down_cooldown_s}
        return [(way, after_s) for way, after_s in self.turns() if after_s < cooldown_s[way]]
