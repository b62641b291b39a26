from __future__ import annotations

import asyncio

import pytest

from nova_torch.errors import Lagged
from noval_d.control.hub import Hub, Subscription
from tests.support.aio import run


async def drain(subscription: Subscription[int]) -> list[int]:
    return [item async for item in subscription]


def test_every_reader_gets_what_it_asked_for() -> None:
    async def scene() -> None:
        hub: Hub[int] = Hub()
        everything, even = hub.subscribe(), hub.subscribe(lambda item: item % 2 == 0)
        for item in range(4):
            hub.publish(item)
        hub.close()
        assert await drain(everything) == [0, 1, 2, 3]
        assert await drain(even) == [0, 2]
        assert await drain(hub.subscribe()) == []

    run(scene())


def test_a_reader_that_lags_is_told_so_once_and_dropped() -> None:
    async def scene() -> None:
        hub: Hub[int] = Hub(lag_entries=3)
        slow, other = hub.subscribe(), hub.subscribe(lambda item: item == 3)
        for item in range(4):
            hub.publish(item)
        assert hub.readers == 1
        assert hub.lagged_readers == 1
        with pytest.raises(Lagged):
            await anext(slow)
        with pytest.raises(StopAsyncIteration):
            await anext(slow)
        assert await anext(other) == 3

    run(scene())


def test_exactly_the_bound_is_no_lag() -> None:
    async def scene() -> None:
        hub: Hub[int] = Hub()
        with hub.subscribe() as reader:
            for item in range(256):
                hub.publish(item)
            assert [await anext(reader) for _ in range(256)] == list(range(256))
        assert hub.readers == 0

    run(scene())


def test_a_waiting_reader_wakes() -> None:
    async def scene() -> None:
        hub: Hub[int] = Hub()
        reader = hub.subscribe()
        waiting = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0)
        hub.publish(7)
        assert await waiting == 7
        ending = asyncio.ensure_future(drain(reader))
        await asyncio.sleep(0)
        reader.close()
        assert await ending == []

    run(scene())
