"""Say when something of the fleet may have changed: by this node's events, and by what others say is new."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from nova_torch.errors import BrokerUnavailable

if TYPE_CHECKING:
    from noval_d.node.node import Node

LOOK_S = 5.0
"""A lease that is over is told by nobody: whoever watches looks that often."""
TOGETHER_S = 0.2
"""What changes within this is told together; in large fleets within the pace of their beats."""
OWN = ("agent.", "life.", "node.")


@asynccontextmanager
async def watched(node: Node) -> AsyncIterator[AsyncGenerator[None, None]]:
    """Give an iterator that goes on each time that it is worth looking at the fleet again."""
    news = asyncio.Event()
    tasks = [
        asyncio.create_task(_own(node, news), name="watch-own"),
        asyncio.create_task(_others(node, news), name="watch-others"),
    ]
    stirred = _stirred(node, news, tasks)
    try:
        yield stirred
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await stirred.aclose()


async def _stirred(
    node: Node, news: asyncio.Event, tasks: list[asyncio.Task[None]]
) -> AsyncGenerator[None, None]:
    while not any(task.done() for task in tasks):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await news.wait()
        await asyncio.sleep(max(TOGETHER_S, node.broker.pace.soon_s))
        news.clear()
        yield
    for task in tasks:
        if task.done() and not task.cancelled():
            task.result()  # what ended it


async def _own(node: Node, news: asyncio.Event) -> None:
    """Follow this node's own events, until the daemon ends."""

    def of_agents(event: dict[str, object]) -> bool:
        if str(event["event"]).startswith(OWN):
            news.set()
        return False  # it is no reader that could lag: the news is all

    with node.events.subscribe(of_agents) as events:
        async for _ in events:
            pass


async def _others(node: Node, news: asyncio.Event) -> None:
    """Follow what the other nodes say is new."""
    while True:
        broker = await node.broker.wait_up()
        news.set()
        try:
            place = await broker.last_change()
            while node.broker.broker is broker:
                place, names = await broker.changed(place, block_s=2.0)
                if names - {node.name}:
                    news.set()
        except BrokerUnavailable as error:
            node.broker.failed(error)
