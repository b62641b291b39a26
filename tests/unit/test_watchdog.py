"""What moves and what does not, as the watchdog sees it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest

from noval_d.node.pulse import at_most, beat_s, counted, idle, rest
from noval_d.node.watchdog import Watchdog, limit_s

LIMIT_S = 0.4


class Fed:
    def __init__(self) -> None:
        self.times = 0
        self.watchdog = Watchdog(LIMIT_S, self.feed)

    def feed(self) -> None:
        self.times += 1


async def _looks(part: Callable[[], Awaitable[object]], looks: int) -> list[bool]:
    """Watch `part` beside one that idles; look as often, each time after the part had time to move."""
    fed = Fed()

    async def runs() -> None:
        await part()

    async def idles() -> None:
        await idle(asyncio.Event().wait)

    tasks = [
        asyncio.create_task(fed.watchdog.watched("idle", idles())),
        asyncio.create_task(fed.watchdog.watched("part", runs())),
    ]
    seen = []
    try:
        for _ in range(looks):
            await asyncio.sleep(LIMIT_S / 4)
            seen.append(fed.watchdog.look())
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert fed.times == sum(seen)
    return seen


@pytest.mark.parametrize(
    "part",
    [
        lambda: idle(asyncio.Event().wait),
        lambda: idle(asyncio.Queue[int]().get),
        lambda: rest(3600),
    ],
    ids=["event", "queue", "sleep"],
)
def test_what_waits_for_work_is_alive(part: Callable[[], Awaitable[object]]) -> None:
    assert all(asyncio.run(_looks(part, 6)))


def test_what_waits_for_anything_else_is_stuck() -> None:
    async def stuck() -> None:
        await asyncio.Event().wait()

    assert asyncio.run(_looks(stuck, 4)) == [True, False, False, False]


def test_what_has_ended_is_asked_for_no_more() -> None:
    async def ends() -> None:
        await asyncio.sleep(0)

    assert all(asyncio.run(_looks(ends, 3)))


def test_a_task_that_is_counted_ends_fails_and_is_cancelled_like_any_other() -> None:
    moves: list[None] = []

    async def ends() -> int:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        await asyncio.sleep(0)
        return 7

    async def fails() -> None:
        await asyncio.sleep(0)
        raise LookupError("gone")

    async def waits(cleaned: list[str]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append("up")

    async def run() -> None:
        assert await counted(ends(), lambda: moves.append(None)) == 7
        assert len(moves) == 3  # begun, timed out, slept
        with pytest.raises(LookupError):
            await counted(fails(), lambda: None)
        cleaned: list[str] = []
        task = asyncio.ensure_future(counted(waits(cleaned), lambda: None))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert cleaned == ["up"]

    asyncio.run(run())


def test_nothing_of_a_queue_is_lost_between_beats() -> None:
    async def run() -> list[int]:
        beat_s.set(0.001)
        queue: asyncio.Queue[int] = asyncio.Queue()

        async def puts() -> None:
            for number in range(300):
                await asyncio.sleep(0.0009)
                queue.put_nowait(number)

        task = asyncio.create_task(puts())
        got = [await idle(queue.get) for _ in range(300)]
        await task
        return got

    assert asyncio.run(run()) == list(range(300))


def test_without_a_watchdog_nothing_is_woken_for_nothing() -> None:
    async def run() -> int:
        moves: list[None] = []
        task = asyncio.ensure_future(counted(idle(asyncio.Event().wait), lambda: moves.append(None)))
        await asyncio.sleep(0.1)
        moved = len(moves)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return moved

    assert asyncio.run(run()) == 1


def test_the_limit_is_systemds_and_for_this_process_alone() -> None:
    assert limit_s({}) is None
    assert limit_s({"WATCHDOG_USEC": "60000000"}) == 60.0
    assert limit_s({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}) == 60.0
    assert limit_s({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}) is None
    assert limit_s({"WATCHDOG_USEC": "-1"}) is None


def test_who_begins_to_wait_in_the_same_moment_does_not_go_on_in_the_same_one() -> None:
    """Else all nodes of a fleet ask their broker in chorus, every few seconds, from its return on."""
    waits = [at_most(5.0) for _ in range(200)]
    assert all(3.75 <= wait <= 5.0 for wait in waits)
    assert max(waits) - min(waits) > 0.8
