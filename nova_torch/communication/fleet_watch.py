"""Watch the fleet without a daemon: nodes tell their events to a place in the broker, while they are asked to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

from nova_torch.asks import News, read_news, unseal
from nova_torch.broker import Broker
from nova_torch.communication.asker import Asker
from nova_torch.communication.direct import Endpoint
from nova_torch.communication.keyless import demand_key
from nova_torch.errors import BrokerUnavailable, InvalidRequest, Lagged, TimedOut
from nova_torch.fleet import NodeView
from nova_torch.recent import Recent
from nova_torch.registry import Query, changes, find
from nova_torch.signing import Keyring
from nova_torch.ulid import new_ulid

AGAIN_S = 5.0
"""Every node is asked anew so often, a new one for the first time."""
HOLDS_S = 30
"""For so long a node tells what it was asked to tell."""
BLOCK_S = 1.0
AT_ONCE = 16
TOLD = 1000

Views = Callable[[], Awaitable[list[NodeView]]]


class EventWatch:
    """The events of all nodes that live, for one program."""

    def __init__(
        self, broker: Broker, asker: Asker, views: Views, keyring: Keyring, wanted: Mapping[str, Any]
    ) -> None:
        self._broker = broker
        self._asker = asker
        self._views = views
        self._keyring = keyring
        self._wanted = wanted
        self._place = Endpoint.of(new_ulid()).node
        self._numbers: dict[tuple[str, int], int] = {}
        self._told: Recent[None] = Recent(TOLD)
        self._places = asyncio.Semaphore(AT_ONCE)

    def __repr__(self) -> str:
        return f"<EventWatch {self._place}>"

    async def run(self) -> AsyncGenerator[dict[str, Any], None]:
        """Yield an item without event when every node listens, then the events; and one without each second.

        Raises Lagged, BrokerUnavailable.
        """
        asking: asyncio.Task[None] | None = None
        try:
            nodes = await self._ask()
            yield {"nodes": nodes}
            asking = asyncio.create_task(self._go_on_asking(), name="fleet-watch")
            after, marked_at = "0-0", _now()
            while not asking.done():
                mail = await self._broker.mail(self._place, block_s=BLOCK_S, after=after)
                for piece in mail:
                    after = piece.entry_id
                    if (event := self._event(piece.payload)) is not None:
                        yield event
                if _now() - marked_at > BLOCK_S:
                    marked_at = _now()
                    yield {"nodes": nodes}
            asking.result()  # what ended it
        finally:
            if asking is not None:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
            with contextlib.suppress(BrokerUnavailable):
                await self._broker.leave_place(self._place)

    async def _go_on_asking(self) -> None:
        while True:
            await asyncio.sleep(AGAIN_S)
            await self._ask()

    async def _ask(self) -> list[str]:
        """Ask every node that lives to tell its events from now on; return those that do."""
        living = [demand_key(view, self._keyring).node for view in await self._views() if view.alive]
        told = await asyncio.gather(*(self._ask_one(node) for node in living))
        return [node for node, does in zip(living, told, strict=True) if does]

    async def _ask_one(self, node: str) -> bool:
        """Ask one node. One that does not answer is asked again with the next round, until its lease is over."""
        details = {**self._wanted, "place": self._place, "seconds": HOLDS_S}
        async with self._places:
            try:
                async for _ in self._asker.follow(node, "watch", details):
                    pass
            except TimedOut:
                return False
        return True

    def _event(self, raw: bytes) -> dict[str, Any] | None:
        """Return an event that is new; two nodes tell of the steps of a message that went from one to the other."""
        try:
            packed, signature = unseal(raw)
            news = read_news(packed)
        except InvalidRequest:
            return None
        if not self._asker.proven(signature, "event", self._place, packed) or not self._follows(news):
            return None
        event = dict(news.event or {})
        if str(event.get("event", "")).startswith("message."):
            step = repr([event.get(name) for name in ("event", "id", "at_ms", "node", "reason")])
            if step in self._told:
                return None
            self._told[step] = None
        return event

    def _follows(self, news: News) -> bool:
        """Tell whether it was not read before. Raises Lagged when something between was lost."""
        seen = self._numbers.get((news.node, news.run), -1)
        if news.number <= seen:
            return False
        if news.event is None or news.number > seen + 1:
            raise Lagged(f"events of node {news.node} were lost on the way.", "Watch again.")
        self._numbers[news.node, news.run] = news.number
        return True


async def watch_agents(broker: Broker, views: Views, query: Query) -> AsyncGenerator[dict[str, Any], None]:
    """Yield who matches (`here`), then what happens to them, by the registry that the nodes keep in the broker."""
    place = await broker.last_change()
    known = {str(record.agent_id): record for record in find(await views(), query)}
    for record in known.values():
        yield {"event": "here", **record.to_json()}
    yield {"event": "watching", "agents": len(known)}
    while True:
        place, _ = await broker.changed(place, block_s=BLOCK_S)  # a lease that ends is told by nobody
        now = {str(record.agent_id): record for record in find(await views(), query)}
        for change in changes(known, now):
            yield change.to_json()
        known = now


def _now() -> float:
    return asyncio.get_running_loop().time()
