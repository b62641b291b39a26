"""Hand every item to many readers. One that lags is told so and dropped; it never holds up the others."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

from nova_torch.errors import Lagged
from noval_d.node.pulse import idle

T = TypeVar("T")

LAG_ENTRIES = 256


class Hub(Generic[T]):
    """Where items are published. Belongs to one event loop."""

    def __init__(self, *, lag_entries: int = LAG_ENTRIES) -> None:
        self._lag_entries = lag_entries
        self._subscriptions: set[Subscription[T]] = set()
        self._closed = False
        self.lagged_readers = 0

    def __repr__(self) -> str:
        return f"<Hub readers={len(self._subscriptions)} lagged={self.lagged_readers}>"

    @property
    def readers(self) -> int:
        """How many subscriptions there are."""
        return len(self._subscriptions)

    def publish(self, item: T) -> None:
        """Give `item` to every reader whose match wants it. Never waits."""
        for subscription in tuple(self._subscriptions):
            if not subscription.offer(item):
                self.lagged_readers += 1

    def subscribe(self, match: Callable[[T], bool] | None = None) -> Subscription[T]:
        """Return a subscription that holds everything published from now on; close it when done.

        Subscribe before the snapshot is made: then nothing falls between the two.
        """
        subscription = Subscription(match, self._lag_entries, self._subscriptions.discard)
        if self._closed:
            subscription.end()
        else:
            self._subscriptions.add(subscription)
        return subscription

    def close(self) -> None:
        """End all subscriptions, those that are still made too, once they are read empty."""
        self._closed = True
        for subscription in tuple(self._subscriptions):
            subscription.end()
        self._subscriptions.clear()


class Subscription(Generic[T]):
    """The items for one reader: an async iterator and a context manager."""

    __slots__ = ("_ended", "_forget", "_items", "_lag_entries", "_lagged", "_match", "_news")

    def __init__(
        self,
        match: Callable[[T], bool] | None,
        lag_entries: int,
        forget: Callable[[Subscription[T]], None],
    ) -> None:
        self._match = match
        self._lag_entries = lag_entries
        self._forget = forget
        self._items: deque[T] = deque()
        self._news = asyncio.Event()
        self._lagged = False
        self._ended = False

    def __repr__(self) -> str:
        return f"<Subscription waiting={len(self._items)} lagged={self._lagged} ended={self._ended}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        """Return the next item. Raises Lagged once when items were lost, then the iteration is over."""
        while not self._items:
            if self._lagged:
                self._lagged = False
                raise Lagged(
                    f"this reader lagged {self._lag_entries} entries behind.",
                    "Read faster, or ask again: a stream starts with a snapshot.",
                )
            if self._ended:
                raise StopAsyncIteration
            self._news.clear()
            await idle(self._news.wait)
        return self._items.popleft()

    def waiting(self, most: int) -> list[T]:
        """Take up to `most` items that wait already."""
        return [self._items.popleft() for _ in range(min(most, len(self._items)))]

    def offer(self, item: T) -> bool:
        """Take an item if it is wanted; return False when it made the reader lag."""
        if self._match is not None and not self._match(item):
            return True
        if len(self._items) >= self._lag_entries:
            self._lagged = True
            self.close()
            return False
        self._items.append(item)
        self._news.set()
        return True

    def end(self) -> None:
        """Take no more items; those that wait can still be read."""
        self._ended = True
        self._forget(self)
        self._news.set()

    def close(self) -> None:
        """Take no more items and drop those that wait; again is fine."""
        self._items.clear()
        self.end()
