"""A thousand tasks that wait for each other, fifty agents, twenty deaths: all done once, none stuck."""

from __future__ import annotations

import asyncio
import os
import random

import pytest

from nova_torch.ulid import new_ulid
from nova_torch.values import NodeId
from noval_d.tasks.task import Task, TaskId
from tests.support.aio import run
from tests.support.broker import Site
from tests.support.task_fleet import Fleet, fleet

SKILLS = ("python", "rust", "sql", "docs", "css")
TASKS, DEATHS = 1000, 20


def made(number: int, earlier: list[TaskId], dice: random.Random) -> Task:
    depends_on = tuple(sorted(dice.sample(earlier[-60:], min(len(earlier), dice.randint(0, 3)))))
    return Task(
        id=TaskId(new_ulid(1_000_000 + number)),
        title=f"task {number}",
        role=dice.choice(("", "worker")),
        skills=(dice.choice(SKILLS),) if dice.random() < 0.5 else (),
        depends_on=depends_on,
        retries=DEATHS,
        creator="user:test",
        origin=NodeId("node-0"),
        answers="@node-0",
        created_ms=1_000_000 + number,
        since_ms=1_000_000 + number,
    )


async def killer(there: Fleet, dice: random.Random) -> int:
    """Kill twenty agents at work; each comes back a little later."""
    deaths = 0
    while deaths < DEATHS:
        await asyncio.sleep(dice.uniform(0.02, 0.2))
        at_work = [agent for agent in there.agents if agent.work is not None and not agent.work.done()]
        if at_work:
            agent = dice.choice(at_work)
            deaths += agent.die()
            asyncio.get_running_loop().call_later(0.3, agent.come_back)
    return deaths


@pytest.mark.slow
def test_a_thousand_tasks_are_done_once_whoever_dies(site: Site) -> None:
    seed = int(os.environ.get("NOVA_SEED", random.randrange(10**6)))
    dice = random.Random(seed)

    async def scene() -> None:
        async with fleet(site.connect, nodes=5, agents=50, skills=SKILLS) as there:
            tasks: list[Task] = []
            for number in range(TASKS):
                task = made(number, [each.id for each in tasks], dice)
                tasks.append(await there.nodes[number % 5].tasks.moves.add(task))
                if number == TASKS // 10:
                    killing = asyncio.create_task(killer(there, dice))
            async with asyncio.timeout(90):
                await there.all_done()
                assert await killing == DEATHS
            assert set(there.done.values()) == {1}, (
                f"seed {seed}"
            )  # an end whose agent died in it counts as well
            ended = await there.nodes[0].tasks.moves.named([task.id for task in tasks])
            assert {task.status.value for task in ended.values()} == {"done"}, f"seed {seed}"
            for task in ended.values():  # nobody began before all that he waits for was done
                began = max(step.at_ms for step in task.steps if step.what == "assigned")
                assert all(ended[name].since_ms <= began for name in task.depends_on)
            again = sum(task.attempt - 1 for task in ended.values())
            assert again <= DEATHS
            assert sum(there.begun.values()) >= TASKS
            print(f"seed {seed}: {TASKS} done, {again} again after {DEATHS} deaths; {there.fenced} fenced")

    run(scene(), 110)
