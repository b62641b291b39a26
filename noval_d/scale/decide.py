"""Decide how many agents of each role are started or stopped now, with a sentence for each decision. No I/O.

What can never be crossed, whatever the load: `max` of the role, the fleet's `hard_cap`, and the starts of 24 hours.
Against these everything counts that is or may come back: agents that have exited, that are on a node which was cut
off, and starts that nobody has heard the end of. What works or can work is only counted against `min`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nova_torch.durations import spoken
from nova_torch.scaling import ScaleRule, Scaling
from nova_torch.values import AgentState
from noval_d.scale.history import DAY_MS, Action, Stand, Way

GONE = (AgentState.EXITED, AgentState.LOST)
HOLD = "hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An agent of the fleet, as it last told."""

    agent: str
    role: str
    node: str
    state: AgentState
    for_s: float = 0.0
    """How long it has been in this state."""
    occupied: bool = False
    """It has a task, or messages wait for it."""

    @property
    def free(self) -> bool:
        """Whether it has nothing to do."""
        return self.state is AgentState.IDLE and not self.occupied


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Ready tasks of a role that no idle agent takes."""

    tasks: int = 0
    oldest_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is done about a role. `way`: up, down or hold."""

    role: str
    way: str
    why: str
    count: int = 0
    """How many are started."""
    agents: tuple[Seen, ...] = ()
    """Which are stopped."""
    used: Mapping[str, int] = field(default_factory=dict)
    """What it was decided by, for who asks."""


def decide(
    scaling: Scaling,
    agents: Sequence[Seen],
    backlogs: Mapping[str, Backlog],
    history: Iterable[Action],
    now_ms: int,
) -> list[Decision]:
    """Return one decision a role, by name; where room in the fleet is short, the longest wait comes first."""
    past = list(history)
    there = {seen.agent for seen in agents}
    coming = [a for a in past if a.way is Way.UP and a.stand is Stand.PENDING and a.agent not in there]
    room = scaling.hard_cap - len(agents) - len(coming)
    waits = sorted(scaling.rules, key=lambda role: (-backlogs.get(role, Backlog()).oldest_s, role))
    made: list[Decision] = []
    for role in waits:
        one = _Role(
            role=role,
            rule=scaling.rules[role],
            agents=[seen for seen in agents if seen.role == role],
            coming=sum(action.role == role for action in coming),
            backlog=backlogs.get(role, Backlog()),
            past=[action for action in past if action.role == role],
            now_ms=now_ms,
        )
        decision = one.decided(scaling.hard_cap, room)
        room -= decision.count
        made.append(decision)
    return sorted(made, key=lambda decision: decision.role)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Role:
    """One role as it is now."""

    role: str
    rule: ScaleRule
    agents: Sequence[Seen]
    coming: int
    backlog: Backlog
    past: Sequence[Action]
    now_ms: int

    @property
    def living(self) -> list[Seen]:
        return [seen for seen in self.agents if seen.state not in GONE]

    @property
    def starts(self) -> int:
        """Starts within 24 hours; those whose time lies ahead (a clock was set back) count too."""
        return sum(a.way is Way.UP and self.now_ms - a.at_ms < DAY_MS for a in self.past)

    def decided(self, cap: int, room: int) -> Decision:
        rule, backlog = self.rule, self.backlog
        present = len(self.living) + self.coming
        spare = sum(seen.free or seen.state is AgentState.STARTING for seen in self.living) + self.coming
        wanted = math.ceil(backlog.tasks / rule.backlog_per_agent)
        lacking = max(rule.min - present, wanted - spare)
        used = {
            "agents": present,
            "spare": spare,
            "counted": len(self.agents) + self.coming,
            "backlog": backlog.tasks,
            "starts": self.starts,
        }
        if lacking > 0:
            reason = self._need(present, wanted, spare)
            return self._up(lacking, reason, cap, room, used)
        return self._down(present, used)

    def _need(self, present: int, wanted: int, spare: int) -> str:
        if self.rule.min - present >= wanted - spare:
            return f"{_agents(present)} of it, and min is {self.rule.min}"
        waits = f"{_tasks(self.backlog.tasks)}, the oldest for {spoken(round(self.backlog.oldest_s))}"
        return f"{waits}, at {self.rule.backlog_per_agent:g} an agent, and {spare} of {present} free for it"

    def _up(self, lacking: int, reason: str, cap: int, room: int, used: Mapping[str, int]) -> Decision:
        rule, counted = self.rule, used["counted"]
        count = min(lacking, rule.max - counted, room, rule.budget_per_day - self.starts)
        if count <= 0:
            gone = sum(seen.state in GONE for seen in self.agents)
            if counted >= rule.max:
                against = f"max is {rule.max}" + (f" ({gone} of them exited or out of reach)" if gone else "")
            elif room <= 0:
                against = f"the fleet has its hard_cap of {cap} agents"
            else:
                against = f"{self.starts} starts in 24 h are the budget"
            return self._hold(f"{reason}; but {against}", used)
        wait_s = self._cooling(rule.up_cooldown_s)
        if wait_s > 0:
            return self._hold(f"{reason}; {spoken(math.ceil(wait_s))} of the cool-down are left", used)
        spent = f"start {self.starts + count} of {rule.budget_per_day} in 24 h"
        why = f"{reason}; {counted + count} of {rule.max} then, {spent}"
        return Decision(role=self.role, way=Way.UP.value, count=count, why=f"start {count}: {why}", used=used)

    def _down(self, present: int, used: Mapping[str, int]) -> Decision:
        rule = self.rule
        ours = {a.agent for a in self.past if a.way is Way.UP}
        leaving = {a.agent for a in self.past if a.way is Way.DOWN and a.stand is Stand.PENDING}
        mine = [s for s in self.agents if s.agent in ours and s.agent not in leaving and not s.occupied]
        long = sorted((s for s in mine if s.for_s >= rule.idle_s), key=lambda seen: (-seen.for_s, seen.agent))
        exited = [seen for seen in long if seen.state is AgentState.EXITED]
        over = present - len(leaving) - rule.min
        idle = [seen for seen in long if seen.free][: max(0, over)]
        if self.backlog.tasks:
            return self._hold(
                f"{_tasks(self.backlog.tasks)}, and {used['spare']} of {present} free for it", used
            )
        if not idle and not exited:
            if over <= 0:
                return self._hold(f"nothing waits; {_agents(present)} of it, and min is {rule.min}", used)
            free = [seen for seen in mine if seen.free]
            if not free:
                return self._hold(f"nothing waits; {present} at work, or not started by scaling", used)
            left = max(1, math.ceil(rule.idle_s - max(seen.for_s for seen in free)))
            return self._hold(f"nothing waits; the first idle agent is stopped in {spoken(left)}", used)
        wait_s = self._cooling(rule.down_cooldown_s)
        if wait_s > 0:
            cooling = spoken(math.ceil(wait_s))
            return self._hold(
                f"{len(idle) + len(exited)} could be stopped; {cooling} of the cool-down are left", used
            )
        parts = (
            *((f"{len(idle)} idle for {spoken(round(min(s.for_s for s in idle)))} or more",) if idle else ()),
            *((f"{len(exited)} exited",) if exited else ()),
        )
        why = f"stop {len(idle) + len(exited)}: nothing waits, {' and '.join(parts)}; {present - len(idle)} stay"
        return Decision(
            role=self.role,
            way=Way.DOWN.value,
            agents=(*idle, *exited),
            why=f"{why}, min is {rule.min}",
            used=used,
        )

    def _cooling(self, cooldown_s: float) -> float:
        """Return how long it is until something may be done again: any action of the role counts, both ways."""
        ahead_ms = self.now_ms + cooldown_s * 1000  # what lies further ahead is of a clock that was set back
        last_ms = max((action.at_ms for action in self.past if action.at_ms <= ahead_ms), default=None)
        return 0.0 if last_ms is None else cooldown_s - (self.now_ms - last_ms) / 1000

    def _hold(self, why: str, used: Mapping[str, int]) -> Decision:
        return Decision(role=self.role, way=HOLD, why=why, used=used)


def _agents(count: int) -> str:
    return f"{count} agent{'' if count == 1 else 's'}"


def _tasks(count: int) -> str:
    return f"{count} task{' waits' if count == 1 else 's wait'}"
