"""Measure what it takes to decide who gets a task: the node's own decision, without the broker."""

from __future__ import annotations

import random
import time

from benchmarks.figures import Report, median, ms, percentile
from nova_torch.ulid import new_ulid
from nova_torch.values import NodeId
from noval_d.tasks.assign import Candidate, Verdict, by_worth, choose, stand_back_s
from noval_d.tasks.task import Task, TaskId

ROUNDS = 200
LIMIT_MS = 1.0
SKILLS = ("python", "rust", "sql", "docs", "css")


def run() -> list[Report]:
    """Decide for a thousand tasks that wait, with few and with many idle agents, and report."""
    dice = random.Random(7)
    report = Report(title="Who gets a task", columns=("decisions", "p50 ms", "p99 ms"))
    ready = [_task(number, dice) for number in range(1000)]
    for mine, others in ((50, 0), (50, 2000), (500, 0)):
        took = _decided(ready, _agents("mine", mine, dice), _agents("other", others, dice))
        what = f"1,000 tasks wait, {mine} idle agents here" + (f", {others:,} elsewhere" if others else "")
        p99 = percentile(took, 0.99)
        target = (f"p99 ≤ {LIMIT_MS:g} ms", p99 * 1000 <= LIMIT_MS) if mine == 50 else ("", None)
        report.add(what, f"{len(took):,}", ms(median(took)), ms(p99), target=target[0], met=target[1])
    report.notes.append(
        "`choose` over all that waits, and for each pair how long the node stands back for better agents elsewhere"
        f" (`noval_d/tasks/assign.py`): the processor time of a round, divided by its decisions, {ROUNDS} rounds."
        " Writing a decision into the broker is one more round trip."
    )
    return [report]


def _decided(ready: list[Task], mine: list[Candidate], others: list[Candidate]) -> list[float]:
    took: list[float] = []
    for _ in range(ROUNDS if len(mine) <= 50 else ROUNDS // 10):
        began = time.process_time()
        idle_there = by_worth(others)
        pairs: list[tuple[Task, Verdict]] = choose(ready, mine)
        for task, verdict in pairs:
            stand_back_s(task, verdict, idle_there)
        took += [(time.process_time() - began) / len(pairs)] * len(pairs)
    return took


def _task(number: int, dice: random.Random) -> Task:
    return Task(
        id=TaskId(new_ulid(1_000_000 + number)),
        title=f"task {number}",
        role="worker" if dice.random() < 0.5 else "",
        skills=tuple(dice.sample(SKILLS, dice.randint(0, 2))),
        creator="user:bench",
        origin=NodeId("bench"),
        answers="@bench",
        created_ms=1_000_000 + number,
        since_ms=1_000_000 + number,
    )


def _agents(name: str, number: int, dice: random.Random) -> list[Candidate]:
    return [
        Candidate(
            agent=f"{name}-{n}",
            role="worker",
            skills=frozenset(dice.sample(SKILLS, 3)),
            node=name,
            load=dice.random(),
            done=dice.randint(0, 50),
            failed=dice.randint(0, 5),
            idle_s=dice.uniform(0, 300),
        )
        for n in range(number)
    ]
