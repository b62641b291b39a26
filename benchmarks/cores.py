"""How fast the cores are from moment to moment: on a shared host the same work takes up to twice the CPU time."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections.abc import Iterable, Sequence

EVERY_S = 0.5
ROUNDS = 30_000
WHOLE = 1.25
"""A core counts as whole while the work takes no more than so many times the least that it ever took."""

Pace = tuple[float, float]
"""A moment (monotonic s), and the CPU time (s) that the work took then."""


def work_s() -> float:
    """Do a fixed piece of work of some ms and return its CPU time; waiting for a core does not count."""
    begun = time.thread_time()
    counts: dict[int, int] = {}
    for n in range(ROUNDS):
        counts[n & 255] = counts.get(n & 255, 0) + n
    return time.thread_time() - begun


async def watch(paces: list[Pace]) -> None:
    """Add the pace of now to `paces` every half second, until cancelled."""
    while True:
        paces.append((time.monotonic(), work_s()))
        await asyncio.sleep(EVERY_S)


def while_whole(
    paces: Sequence[Pace], least_s: float, times: Iterable[tuple[float, float]]
) -> tuple[float, list[float]]:
    """Return the share of `paces` at which a core was whole, and of `times` (moment and value) the values of then.

    `least_s` is the least that the work ever took; where the cores were never whole, nothing here can tell.
    """
    if not paces:
        return 0.0, []
    moments = [at for at, _ in paces]
    good = [took <= WHOLE * least_s for _, took in paces]
    values = [value for at, value in times if good[max(0, bisect_right(moments, at) - 1)]]
    return sum(good) / len(good), values
