"""Run a coroutine of a test with a time limit, and wait in one for what happens elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(coro: Coroutine[Any, Any, T], timeout_s: float = 90.0) -> T:
    """Run `coro` in a new event loop; fail the test when it takes longer than `timeout_s`."""

    async def limited() -> T:
        async with asyncio.timeout(timeout_s):
            return await coro

    return asyncio.run(limited())


async def until(condition: Callable[[], bool], limit_s: float = 45.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 - what is waited for is in another process
            await asyncio.sleep(0.01)
