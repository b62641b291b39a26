"""Tell programs that have no daemon what happens here: they ask for it through the broker, again and again.

The events go into the mail of the program's own place in the broker. A program that does not ask again within the
time that it named is told no more; nobody watches, nothing is written.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nova_torch.asks import News, pack_news, seal
from nova_torch.errors import BrokerUnavailable, Busy, InvalidRequest, Lagged
from nova_torch.events import Filter
from nova_torch.keys import is_name
from nova_torch.recent import Recent
from noval_d.control.args import Args
from noval_d.node.news import public
from noval_d.node.pulse import idle

if TYPE_CHECKING:
    from noval_d.control.hub import Subscription
    from noval_d.node.node import Event, Node

log = logging.getLogger("nova.node")

MOST = 32
"""Programs that watch a node this way at a time."""
LONGEST_S = 60
KEEP_S = 600
"""What a program that died has not read goes after this."""
TOGETHER = 64
REMEMBERED = 1000


@dataclass(slots=True)
class _Watch:
    place: str
    until: float
    task: asyncio.Task[None]


class Watchers:
    """The programs that watch this node through the broker."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._watches: dict[str, _Watch] = {}
        self._next: Recent[int] = Recent(REMEMBERED)
        """Of each place whose watch has ended: the number of the event that it was not told."""

    def __repr__(self) -> str:
        return f"<Watchers {len(self._watches)}>"

    async def run(self) -> None:
        """Go on until cancelled, and end every watch then."""
        try:
            await idle(asyncio.Event().wait)
        finally:
            tasks = [watch.task for watch in self._watches.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def watch_for(self, _ask: str, details: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Begin to tell a program of the events that it wants, or go on with it."""
        asked = Args(details)
        place, now = asked.text("place"), self._node.clock()
        if not is_name(place):
            raise InvalidRequest(f"{place[:40]!r} is no place in the broker.")
        until = now + asked.integer("seconds", least=1, most=LONGEST_S)
        if place in self._watches:
            self._watches[place].until = until
        else:
            if len(self._watches) >= MOST:
                raise Busy(f"{MOST} programs watch node {self._node.name} already.", "End one of them.")
            wanted = Filter(
                agent=asked.optional_text("agent"),
                sender=asked.optional_text("sender"),
                state=asked.optional_text("state"),
                priority=asked.optional_text("priority"),
            )
            events = self._node.events.subscribe(wanted.wants)
            task = asyncio.create_task(self._tell(place, events), name=f"watcher-{place}")
            self._watches[place] = _Watch(place, until, task)
            task.add_done_callback(lambda done: self._ended(place, done))
        yield {"node": self._node.name}

    def _ended(self, place: str, task: asyncio.Task[None]) -> None:
        del self._watches[place]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("node.watcher_failed", extra={"place": place}, exc_info=error)

    async def _tell(self, place: str, events: Subscription[Event]) -> None:
        # One that lapsed goes on behind a gap: what happened meanwhile is lost, and the program sees that it is.
        number = self._next[place] + 1 if place in self._next else 0
        self._next[place] = number
        with events:
            while (left_s := self._watches[place].until - self._node.clock()) > 0:
                found: list[Event | None] = []
                try:
                    async with asyncio.timeout(left_s):
                        found.append(await anext(events))
                    found += events.waiting(TOGETHER)
                except TimeoutError:
                    continue  # the program may have asked again
                except StopAsyncIteration:
                    return
                except Lagged:
                    found.append(None)
                if not await self._post(place, number, found) or found[-1] is None:
                    return
                number += len(found)
                self._next[place] = number

    async def _post(self, place: str, number: int, events: list[Event | None]) -> bool:
        """Write the events, the first of them the `number`-th; False when the broker did not come back in time."""
        node = self._node
        told = [
            pack_news(
                News(
                    node=node.name,
                    run=node.started_ms,
                    number=number + n,
                    event=None if event is None else public(event),
                )
            )
            for n, event in enumerate(events)
        ]
        sealed = [seal(packed, node.guard.seals.sign("event", place, packed)) for packed in told]
        while (left_s := self._watches[place].until - node.clock()) > 0:
            try:
                async with asyncio.timeout(left_s):
                    broker = await node.broker.wait_up()
                await broker.post(place, sealed, keep_s=KEEP_S)  # twice after an error: they are numbered
            except TimeoutError:
                continue
            except BrokerUnavailable as error:
                node.broker.failed(error)
            else:
                return True
        return False
