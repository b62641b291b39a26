"""Keep the answers for people, who have no pane: to the mailbox `@NODE` what a worker is to an agent's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Protocol

from nova_torch.errors import StoreFailed
from nova_torch.values import AgentId, MessageId, State
from noval_d.delivery.item import Item
from noval_d.node.pulse import idle

log = logging.getLogger("nova.talk")

CAPACITY = 64
TROUBLED_S = 0.5


class Hand(Protocol):
    """What the mailroom gives messages to: an agent's worker, or the pigeonhole."""

    @property
    def room(self) -> int:
        """How many more messages it takes now."""

    def find(self, message: MessageId) -> Item | None:
        """Return the message if it is in hand."""

    def put(self, item: Item) -> None:
        """Take a message over."""


class Hands(Mapping[AgentId, Hand]):
    """Every mailbox of a node and who takes what comes into it: its agents' workers and the pigeonhole."""

    def __init__(self, workers: Mapping[AgentId, Hand], pigeonhole: Pigeonhole) -> None:
        self._workers = workers
        self._pigeonhole = pigeonhole

    def __getitem__(self, mailbox: AgentId) -> Hand:
        return self._pigeonhole if mailbox == self._pigeonhole.name else self._workers[mailbox]

    def __iter__(self) -> Iterator[AgentId]:
        return iter((*self._workers, self._pigeonhole.name))

    def __len__(self) -> int:
        return len(self._workers) + 1


class Pigeonhole:
    """Settles what it is given: the ledger row is where the answer stays, for as long as the ledger keeps it."""

    def __init__(self, name: AgentId, settle: Callable[[Item, State, str], Awaitable[None]]) -> None:
        self.name = name
        self._settle = settle
        self._items: dict[MessageId, Item] = {}
        self._news = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Pigeonhole {self.name} in_hand={len(self._items)}>"

    @property
    def room(self) -> int:
        """How many more messages it takes now."""
        return max(0, CAPACITY - len(self._items))

    def find(self, message: MessageId) -> Item | None:
        """Return the message if it is in hand."""
        return self._items.get(message)

    def put(self, item: Item) -> None:
        """Take a message over."""
        self._items[item.message.id] = item
        self._news.set()

    async def run(self) -> None:
        """Write down what comes until cancelled."""
        while True:
            await idle(self._news.wait)
            self._news.clear()
            try:
                for item in tuple(self._items.values()):
                    await self._settle(item, State.ACKNOWLEDGED, f"kept for {item.message.target}")
                    del self._items[item.message.id]
            except StoreFailed as error:
                log.warning("talk.store_failed", extra={"problem": error.message})
                await asyncio.sleep(TROUBLED_S)
                self._news.set()
