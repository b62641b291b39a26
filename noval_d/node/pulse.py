"""Let a task show that it lives while it has nothing to do, so that waiting and being stuck can be told apart.

A watched task counts each time that it goes on (`counted`). One that waits for work goes on now and then
(`idle`, `rest`); one that waits for anything else has a limit of its own, or is stuck.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import ContextVar
from functools import partial
from types import coroutine
from typing import Any, TypeVar

T = TypeVar("T")

beat_s: ContextVar[float | None] = ContextVar("beat_s", default=None)
"""How often the tasks of this context show that they live; None: nobody watches, so they just wait."""


async def idle(wait: Callable[[], Awaitable[T]]) -> T:
    """Return what `wait()` returns; it is begun again with each beat, so cancelling it must lose nothing."""
    every_s = beat_s.get()
    if every_s is None:
        return await wait()
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(every_s):
                return await wait()


def at_most(seconds: float) -> float:
    """Return how long this task may wait at a stretch, `seconds` at the most: then it shows that it lives."""
    every_s = beat_s.get()
    return spread(seconds if every_s is None else min(seconds, every_s))


def spread(seconds: float) -> float:
    """Return three quarters of it to all of it, by chance.

    The nodes of a fleet begin to wait together when their broker comes back; they are not to ask in chorus then.
    """
    return seconds * random.uniform(0.75, 1.0)


async def rest(seconds: float) -> None:
    """Sleep, with beats."""
    every_s = beat_s.get()
    while every_s is not None and seconds > every_s:
        await asyncio.sleep(every_s)
        seconds -= every_s
    await asyncio.sleep(seconds)


@coroutine
def counted(task: Coroutine[Any, Any, T], moved: Callable[[], object]) -> Generator[Any, None, T]:
    """Run `task` as it is, and call `moved` each time that the event loop lets it go on."""
    go_on: Callable[[], Any] = partial(task.send, None)
    try:
        while True:
            moved()
            try:
                waits_for = go_on()
            except StopIteration as end:
                result: T = end.value
                return result
            try:
                yield waits_for
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 - handed on as it is, a cancellation too
                go_on = partial(task.throw, error)
            else:
                go_on = partial(task.send, None)
    finally:
        task.close()
