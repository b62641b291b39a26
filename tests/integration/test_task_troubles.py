"""What a node does with tasks while its disk, its clock, or a second caller is in the way."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from nova_torch.errors import StoreFailed
from nova_torch.ulid import new_ulid
from nova_torch.values import MessageId, NodeId
from noval_d.tasks.task import Task, TaskId
from tests.support.aio import run
from tests.support.broker import Site
from tests.support.task_fleet import SimNode, fleet

HOUR_MS = 3_600_000


def made(number: int) -> Task:
    return Task(
        id=TaskId(new_ulid(1_000_000 + number)), title=f"task {number}", creator="user:test",
        origin=NodeId("node-0"), answers="@node-0", created_ms=1_000_000 + number, since_ms=1_000_000 + number,
    )  # fmt: skip


async def until(true: Any, seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def test_an_agent_that_cannot_be_told_now_is_told_later_and_nothing_ends(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop that follows the moves of others ended with the first full disk, and the daemon with it."""
    refused: list[MessageId] = []
    notices: list[str] = []

    async def tell(
        self: SimNode, _agent: str, body: str, message: MessageId, _task: Task, _headers: Mapping[str, str]
    ) -> None:
        if "not yours any more" in body:
            if not refused:
                refused.append(message)
                raise StoreFailed("the disk is full.")
            notices.append(body)
        self.agents["agent-0"].told.add(message)

    monkeypatch.setattr(SimNode, "tell", tell)

    async def scene() -> None:
        async with fleet(site.connect, nodes=1, agents=1, skills=("python",)) as there:
            (one,) = there.nodes
            task = await one.tasks.moves.add(made(1))
            await until(lambda: one.tasks.of("agent-0") == task.id and one.agents["agent-0"].told)
            await one.tasks.moves.change(task.id, lambda old: old.cancelled(now_ms=one.now_ms(), by="user:x"))
            await until(lambda: notices)
            assert (len(refused), len(notices)) == (1, 1)

    run(scene())


def test_a_clock_that_is_set_back_keeps_no_task_from_its_agent(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What had waited since a time that lay ahead now was left to better agents elsewhere until that time."""
    jump_ms = [0]
    now_ms = SimNode.now_ms
    monkeypatch.setattr(SimNode, "now_ms", lambda self: now_ms(self) + jump_ms[0])

    async def scene() -> None:
        async with fleet(site.connect, nodes=1, agents=1, skills=("python",)) as there:
            (one,) = there.nodes
            agent = one.agents["agent-0"]
            agent.dead = True
            await one.tasks.moves.add(made(1))
            await until(lambda: one.tasks._ready_since)
            one.tasks.broker_up(lost=True)
            await until(lambda: one.tasks.known.open)
            jump_ms[0] = -HOUR_MS
            agent.come_back()
            await until(lambda: sum(there.done.values()) == 1, 12)

    run(scene())


def test_more_than_one_page_of_old_tasks_is_forgotten_at_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noval_d.tasks.tasks.FORGOTTEN_AT_ONCE", 2)

    async def scene() -> None:
        async with fleet(site.connect, nodes=1, agents=0, skills=("python",)) as there:
            (one,) = there.nodes
            for number in range(7):
                task = await one.tasks.moves.add(made(number))
                await one.tasks.moves.change(
                    task.id, lambda old: old.cancelled(now_ms=one.now_ms(), by="user:x")
                )
            await until(lambda: not one.tasks.known.tasks)
            one.tasks._keep_days = -1.0
            one.tasks._purged_ms = 0
            broker = one.link.broker
            assert broker is not None
            await one.tasks._forget_old(broker)
            assert await broker.ended_tasks(10) == []

    run(scene())
