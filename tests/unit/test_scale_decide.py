"""How many agents there are to be: over a recorded day, and over whatever else may happen."""

from __future__ import annotations

import csv
import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nova_torch.scaling import ScaleRule, Scaling
from nova_torch.values import AgentState
from noval_d.scale.decide import HOLD, Backlog, Decision, Seen, decide
from noval_d.scale.history import DAY_MS, Action, Stand, Way, action_id, kept, learned, merged, pack, unpack

DAY = Path(__file__).parent.parent / "data" / "load_of_a_day.csv"
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


def one(
    config: Scaling, agents: list[Seen], tasks: int, past: Iterable[Action] = (), oldest_s: float = 5
) -> Decision:
    (decision,) = decide(config, agents, {"worker": Backlog(tasks=tasks, oldest_s=oldest_s)}, past, NOON)
    return decision


def test_what_waits_starts_agents_and_what_is_idle_for_long_is_stopped() -> None:
    config = scaling(worker=rule(backlog_per_agent=2))
    up = one(config, [agent("w-1", AgentState.BUSY)], 5)
    assert (up.way, up.count) == ("up", 3)
    assert up.why == (
        "start 3: 5 tasks wait, the oldest for 5.0s, at 2 an agent, and 0 of 1 free for it; 4 of 4 then,"
        " start 3 of 100 in 24 h"
    )
    assert one(config, [agent("w-1", AgentState.STARTING)], 2).way == HOLD
    full = one(config, [agent(f"w-{n}", AgentState.BUSY) for n in range(4)], 9)
    assert (full.way, full.why.rpartition("; ")[2]) == (HOLD, "but max is 4")
    past = [act("w-1", Way.UP, NOON - DAY_MS), act("w-2", Way.UP, NOON - DAY_MS)]
    there = [agent("w-1", for_s=500), agent("w-2", for_s=10), agent("mine", for_s=9999)]
    down = one(config, there, 0, past)
    assert (down.way, [seen.agent for seen in down.agents]) == ("down", ["w-1"])
    assert down.why == "stop 1: nothing waits, 1 idle for 8m or more; 2 stay, min is 0"
    assert (
        one(scaling(worker=rule(min=3)), there, 0, past).why == "nothing waits; 3 agents of it, and min is 3"
    )
    assert one(config, [agent("mine", for_s=9999)], 0).why.endswith("not started by scaling")
    assert one(config, [agent("w-1", for_s=500, occupied=True)], 0, past).way == HOLD
    assert one(config, [agent("w-1", AgentState.DIALOG, for_s=500)], 0, past).way == HOLD
    exited = one(scaling(worker=rule(min=0)), [agent("w-1", AgentState.EXITED, for_s=500)], 0, past)
    assert (exited.way, "1 exited" in exited.why) == ("down", True)


def test_every_limit_holds_and_is_named() -> None:
    assert one(scaling(cap=2, worker=rule()), [agent("x"), agent("y", AgentState.BUSY)], 9).why.endswith(
        "but the fleet has its hard_cap of 2 agents"
    )
    spent = [act(f"w-{n}", Way.UP, NOON - 3_600_000) for n in range(3)]
    assert one(scaling(worker=rule(budget_per_day=3)), [], 9, spent).why.endswith(
        "but 3 starts in 24 h are the budget"
    )
    assert one(scaling(worker=rule(budget_per_day=4)), [], 9, spent).count == 1
    late = [act("w-1", Way.DOWN, NOON - 20_000)]  # the other way counts too: that is what flapping is
    assert one(scaling(worker=rule()), [], 1, late).why.endswith("40s of the cool-down are left")
    lost = [agent(f"w-{n}", AgentState.LOST) for n in range(4)]
    assert one(scaling(worker=rule(min=1)), lost, 0).why.endswith(
        "max is 4 (4 of them exited or out of reach)"
    )
    coming = [act("w-7", Way.UP, NOON - 90_000, Stand.PENDING)]
    assert one(scaling(worker=rule(max=1)), [], 9, coming).why.endswith("but max is 1")
    # a clock was set back: for days nothing would be done
    ahead = [act("w-7", Way.UP, NOON + 10**9)]
    assert one(scaling(worker=rule()), [], 1, ahead).way == "up"


def test_where_the_room_is_short_the_longest_wait_comes_first() -> None:
    rules = {"a": rule(), "b": rule()}
    waits = {"a": Backlog(tasks=3, oldest_s=10), "b": Backlog(tasks=3, oldest_s=90)}
    made = {d.role: d for d in decide(Scaling(hard_cap=4, rules=rules), [], waits, [], NOON)}
    assert (made["b"].count, made["a"].count) == (3, 1)


def test_actions_are_the_same_when_they_are_made_again_and_only_move_forward() -> None:
    first = act("w-1", Way.UP, NOON, Stand.PENDING)
    assert act("w-1", Way.UP, NOON).id == first.id != act("w-2", Way.UP, NOON).id
    done = first.ended(Stand.DONE)
    assert merged([first], [done]) == merged([done], [first]) == {first.id: done}
    assert unpack(pack(first, "s")) == (first, "s")
    old = act("w-3", Way.UP, NOON - DAY_MS)
    everything = merged([done, old, act("w-4", Way.DOWN, NOON - DAY_MS)])
    assert {a.agent for a in kept(everything, ["w-3"], NOON).values()} == {"w-1", "w-3"}
    # who only follows forgets what the leader has forgotten, and keeps all of it when the broker was wiped
    assert learned(everything, {}, NOON) == everything
    assert {a.agent for a in learned(everything, {old.id: old}, NOON).values()} == {"w-1", "w-3"}


# -- a day --


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
            self.note(seen.agent, Way.DOWN, number)

    def note(self, name: str, way: Way, number: int) -> None:
        made = action_id("worker", way, self.now_ms, number)
        self.past[made] = replace(act("w-0", way, self.now_ms), id=made, agent=name)


def day() -> list[tuple[int, int]]:
    """Return for each five minutes of the day how many tasks came, and how long one took (seconds)."""
    with DAY.open(newline="") as file:
        return [(int(row["tasks"]), int(row["seconds_each"])) for row in csv.DictReader(file)]


def simulated(config: Scaling) -> Fleet:
    fleet = Fleet(config)
    for tasks, each_s in day():
        for slot in range(20):  # they come evenly within the five minutes
            fleet.step(tasks * (slot + 1) // 20 - tasks * slot // 20, each_s, seconds=15)
    return fleet


def turns(fleet: Fleet) -> list[tuple[str, float]]:
    """Return each change of direction: to where, and how long after the decision before (seconds)."""
    moved = [(at_ms, decision.way) for at_ms, decision in fleet.made if decision.way != HOLD]
    return [(b, (later - sooner) / 1000) for (sooner, a), (later, b) in pairwise(moved) if a != b]


def test_a_recorded_day_is_served_within_every_limit_without_flapping_and_each_decision_explained() -> None:
    limits = rule(min=1, max=6, backlog_per_agent=2, budget_per_day=60, idle_s=300)
    fleet = simulated(scaling(cap=8, worker=limits))
    starts = sum(decision.count for _, decision in fleet.made)
    assert fleet.most == 6, "the peaks need all that is allowed, and get no more"
    assert 6 <= starts <= 60
    assert len(fleet.agents) == 1, "at night nobody but min is left"
    turned = turns(fleet)
    assert {way for way, _ in turned} == {"up", "down"}
    assert [turn for turn in turned if turn[1] < {"up": 60, "down": 300}[turn[0]]] == []
    assert all(len(decision.why) > 20 for _, decision in fleet.made)
    assert len(fleet.waited_s) == sum(tasks for tasks, _ in day()), "what came was done"
    served = sorted(fleet.waited_s)
    middle, late = served[len(served) // 2], served[int(len(served) * 0.99)]
    assert middle <= 60
    assert late <= 1200  # the peaks are more than six agents can do
    print(
        f"{len(served)} tasks, {starts} starts, {len(turned)} turns; waited p50 {middle:g} s, p99 {late:g} s"
    )

    # without cool-downs the same day flaps: else it could not show that they help
    hasty = replace(limits, up_cooldown_s=0, down_cooldown_s=0, idle_s=0, budget_per_day=10_000)
    flapping = turns(simulated(scaling(cap=8, worker=hasty)))
    assert len([turn for turn in flapping if turn[1] < {"up": 60, "down": 300}[turn[0]]]) > 50


states = st.sampled_from(list(AgentState))
rules = st.builds(
    ScaleRule,
    template=st.just("t"), min=st.integers(0, 3), max=st.integers(3, 6), budget_per_day=st.integers(3, 12),
    backlog_per_agent=st.sampled_from([0.5, 1.0, 3.0]), up_cooldown_s=st.sampled_from([0.0, 60.0]),
    down_cooldown_s=st.sampled_from([0.0, 300.0]), idle_s=st.sampled_from([0.0, 120.0]),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    rules=st.dictionaries(st.sampled_from(["a", "b"]), rules, min_size=1),
    cap=st.integers(0, 8),
    agents=st.lists(
        st.tuples(st.sampled_from(["a", "b", "c"]), states, st.booleans(), st.floats(0, 1e5)), max_size=10
    ),
    tasks=st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(0, 99)),
    starts=st.lists(
        st.tuples(st.sampled_from(["a", "b"]), st.integers(-1000, DAY_MS * 2), st.sampled_from(list(Stand))),
        max_size=12,
    ),
)
def test_no_limit_is_ever_crossed(
    rules: dict[str, ScaleRule],
    cap: int,
    agents: list[tuple[str, AgentState, bool, float]],
    tasks: dict[str, int],
    starts: list[tuple[str, int, Stand]],
) -> None:
    there = [
        Seen(agent=f"x-{n}", role=role, node="n", state=state, occupied=occupied, for_s=for_s)
        for n, (role, state, occupied, for_s) in enumerate(agents)
    ]
    past = [
        replace(act(f"x-{n}", Way.UP, NOON - ago, stand), role=role)
        for n, (role, ago, stand) in enumerate(starts)
    ]
    waits = {role: Backlog(tasks=count, oldest_s=count) for role, count in tasks.items()}
    made = decide(Scaling(hard_cap=cap, rules=rules), there, waits, past, NOON)
    assert [decision.role for decision in made] == sorted(rules)
    started = {d.role: d.count for d in made}
    names = {seen.agent for seen in there}
    coming = [a for a in past if a.stand is Stand.PENDING and a.agent not in names]
    if any(started.values()):
        assert len(there) + len(coming) + sum(started.values()) <= cap
    for decision in made:
        own, limits = [seen for seen in there if seen.role == decision.role], rules[decision.role]
        if decision.count:
            assert len(own) + sum(a.role == decision.role for a in coming) + decision.count <= limits.max
            spent = sum(a.role == decision.role and NOON - a.at_ms < DAY_MS for a in past)
            assert spent + decision.count <= limits.budget_per_day
            assert not decision.agents
        ours = {a.agent for a in past if a.role == decision.role}
        for seen in decision.agents:
            assert seen.agent in ours
            assert not seen.occupied
            assert seen.for_s >= limits.idle_s
            assert seen.state in (AgentState.IDLE, AgentState.EXITED)
        living = sum(s.state not in (AgentState.EXITED, AgentState.LOST) for s in own)
        idle = sum(seen.state is AgentState.IDLE for seen in decision.agents)
        assert not idle or living + sum(a.role == decision.role for a in coming) - idle >= limits.min
        assert decision.why


def test_what_cannot_be_read_is_no_action() -> None:
    from nova_torch.errors import InvalidRequest

    for raw in (b"", b"\x93\x01\x02\x03", pack(replace(act("w-1", Way.UP, 1), id="x"), "")):
        with pytest.raises(InvalidRequest):
            unpack(raw)
