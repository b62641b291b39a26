"""How many agents there are over whole days: a recorded month, and a day made up of worse peaks than it has."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from nova_torch.scaling import Scaling
from noval_d.scale.history import DAY_MS
from tests.support.scaled_fleet import Fleet, rule, scaling

DATA = Path(__file__).parent.parent / "data"
LIMITS = rule(min=1, max=6, backlog_per_agent=2, budget_per_day=60, idle_s=900)
SLOT_S, LOOK_S = 600, 60
FLOWN_TO_WORKED = 10
"""A flight of two hours is a task of twelve minutes."""


def month() -> Iterator[tuple[str, list[tuple[int, int]]]]:
    """Return the recorded days: for each ten minutes how many tasks came, and how long one took (seconds)."""
    with (DATA / "load_of_a_month.csv").open(newline="") as file:
        rows = list(csv.reader(line for line in file if not line.startswith("#")))
    for (day, _, *departures), (_, _, *minutes) in zip(rows[::2], rows[1::2], strict=True):
        loads = zip(departures, minutes, strict=True)
        yield day, [(int(left), int(flown) * 60 // FLOWN_TO_WORKED) for left, flown in loads]


def pass_by(fleet: Fleet, day: list[tuple[int, int]]) -> int:
    """Let a recorded day pass; return how many tasks have waited at most at the same time."""
    looks, longest = SLOT_S // LOOK_S, 0
    for tasks, each_s in day:
        for look in range(looks):  # they come evenly within the ten minutes
            fleet.step(tasks * (look + 1) // looks - tasks * look // looks, each_s, seconds=LOOK_S)
            longest = max(longest, len(fleet.queue))
    return longest


def test_each_day_of_a_recorded_month_is_served_within_every_limit_without_flapping_and_explained() -> None:
    days = list(month())
    assert [len(slots) for _, slots in days] == [144] * 28
    fleet, told, most = Fleet(scaling(cap=8, worker=LIMITS)), [], 0
    for name, slots in days:
        decided, done, fleet.most = len(fleet.made), len(fleet.waited_s), 0
        longest = pass_by(fleet, slots)
        came, waited, today = sum(n for n, _ in slots), sorted(fleet.waited_s[done:]), fleet.made[decided:]
        most = max(most, fleet.most)
        # whatever came in a day is worked off at its end, and who is not needed any more has gone
        assert (fleet.queue, len(waited), len(fleet.agents)) == ([], came, LIMITS.min), name
        assert waited[-1] <= 1200, f"{name}: the peaks are more than six agents can do at once"
        for _, decision in today:
            assert decision.why.startswith({"up": "start ", "down": "stop "}.get(decision.way, "")), name
            assert len(decision.why) > 20, name
        told.append(
            f"{name}: {came} tasks, {sum(d.count for _, d in today)} starts, {fleet.most} agents and {longest} "
            f"waiting at most; waited p50 {waited[came // 2]:g} s, p99 {waited[came * 99 // 100]:g} s"
        )
    assert most == LIMITS.max, "the peaks need all that is allowed, and get no more"
    assert fleet.flapped(LIMITS) == []
    assert {way for way, _ in fleet.turns()} == {"up", "down"}
    starts = [at_ms for at_ms, decision in fleet.made for _ in range(decision.count)]
    assert max(sum(at_ms - DAY_MS < s <= at_ms for s in starts) for at_ms in starts) <= LIMITS.budget_per_day
    print(
        *told,
        f"{len(starts)} starts, {len(fleet.in_vain)} of them in vain, {len(fleet.turns())} turns",
        sep="\n",
    )


def made_up_day() -> list[tuple[int, int]]:
    """Return for each five minutes how many tasks came, and how long one took (seconds)."""
    with (DATA / "made_up_day.csv").open(newline="") as file:
        return [(int(row["tasks"]), int(row["seconds_each"])) for row in csv.DictReader(file)]


def simulated(config: Scaling) -> Fleet:
    fleet = Fleet(config)
    for tasks, each_s in made_up_day():
        for look in range(20):  # they come evenly within the five minutes
            fleet.step(tasks * (look + 1) // 20 - tasks * look // 20, each_s, seconds=15)
    return fleet


def test_a_day_made_up_of_sharp_peaks_is_served_so_too_and_without_cool_downs_it_would_flap() -> None:
    limits = replace(LIMITS, idle_s=300)
    fleet = simulated(scaling(cap=8, worker=limits))
    starts = sum(decision.count for _, decision in fleet.made)
    assert fleet.most == 6
    assert 6 <= starts <= 60
    assert len(fleet.agents) == 1, "at night nobody but min is left"
    assert {way for way, _ in fleet.turns()} == {"up", "down"}
    assert fleet.flapped(limits) == []
    assert all(len(decision.why) > 20 for _, decision in fleet.made)
    assert len(fleet.waited_s) == sum(tasks for tasks, _ in made_up_day()), "what came was done"
    served = sorted(fleet.waited_s)
    middle, late = served[len(served) // 2], served[int(len(served) * 0.99)]
    assert middle <= 60
    assert late <= 1200  # the peaks are more than six agents can do
    print(
        f"{len(served)} tasks, {starts} starts, {len(fleet.turns())} turns; waited {middle:g} s, p99 {late:g} s"
    )

    # else it could not show that they help
    hasty = replace(limits, up_cooldown_s=0, down_cooldown_s=0, idle_s=0, budget_per_day=10_000)
    assert len(simulated(scaling(cap=8, worker=hasty)).flapped(limits)) > 50
