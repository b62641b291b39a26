"""A task that talks to the broker ends when it is cancelled, at whatever step of a command that comes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from nova_torch.broker import Broker
from nova_torch.broker.connection import Link
from nova_torch.broker.mailbox import Lane, ring
from nova_torch.keys import Keys
from tests.support.aio import run
from tests.support.broker import Site

STEPS = 60


async def for_ever(ask: Callable[[], Awaitable[object]]) -> None:
    while True:
        await ask()


@pytest.mark.parametrize("batch", [False, True], ids=["command", "batch"])
def test_no_cancellation_is_swallowed(site: Site, batch: bool) -> None:
    async def scenario() -> None:
        link = await Link.open(site.server.url)

        async def ask() -> object:
            if batch:
                return await link.batch([("PING",), ("PING",)])
            return await link.command("PING")

        for steps in range(STEPS):
            task = asyncio.create_task(for_ever(ask))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=1.0)
            try:
                assert done, f"cancelled after {steps} steps, it goes on"
            finally:
                task.cancel()
        await link.close()

    run(scenario())


def test_a_broker_that_is_still_used_after_a_cancellation_answers(site: Site) -> None:
    async def scenario() -> None:
        broker: Broker = await site.connect()
        task = asyncio.create_task(for_ever(broker.generation))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task], timeout=1.0)
        assert await broker.generation()
        await broker.close()

    run(scenario())


def test_a_bell_that_rings_while_its_reader_is_cancelled_is_the_next_ones(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker, await site.connect() as other:
            keys = Keys(site.prefix)
            given = 0
            for steps in range(STEPS // 2):
                task = asyncio.create_task(broker.bells("one", block_s=5))
                await site.blocked()
                await ring(other._link, keys, [("one", "a", Lane.MBX)])
                for _ in range(steps % 10):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
                given += not task.cancelled()
                rung = await broker.bells("one", block_s=1) if task.cancelled() else task.result()
                assert rung == [("a", Lane.MBX)]
            assert given < STEPS // 2

    run(scenario())
