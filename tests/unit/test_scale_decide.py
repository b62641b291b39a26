"""How many agents there are to be, whatever may happen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nova_torch.scaling import ScaleRule, Scaling
from nova_torch.values import AgentState
from noval_d.scale.decide import HOLD, Backlog, Decision, Seen, decide
from noval_d.scale.history import DAY_MS, Action, Stand, Way, kept, learned, merged, pack, unpack
from tests.support.scaled_fleet import NOON, act, agent, rule, scaling


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
