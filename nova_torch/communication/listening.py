"""Call a program's handlers for what happens: the stream of events, taken up again when it breaks."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from nova_torch.communication.road import Road
from nova_torch.errors import (
    BrokerUnavailable,
    DaemonUnreachable,
    Lagged,
    MessageNotFound,
    NovaError,
    ShuttingDown,
)
from nova_torch.events import Event, Filter
from nova_torch.recent import Recent
from nova_torch.values import Reply, State

EventHandler = Callable[[Event], Awaitable[None] | None]
ReplyHandler = Callable[[Reply], Awaitable[None] | None]

WHAT = "events are those of daemons"
RETRY_S = (0.05, 0.2, 0.5)
KEPT_QUESTIONS = 1000


@dataclass(frozen=True, slots=True)
class _Wanted:
    filter: Filter
    prefix: str
    handler: EventHandler


class Listening:
    """The handlers of one program. What was asked is remembered: its answer is handed over once."""

    def __init__(self) -> None:
        self._events: list[_Wanted] = []
        self._replies: list[ReplyHandler] = []
        self._open: Recent[None] = Recent(KEPT_QUESTIONS)

    def __repr__(self) -> str:
        return f"<Listening events={len(self._events)} replies={len(self._replies)} open={len(self._open)}>"

    def on_event(self, handler: EventHandler, wanted: Filter, *, prefix: str = "") -> None:
        """Have `handler` called with every event that is wanted and whose name starts with `prefix`."""
        self._events.append(_Wanted(wanted, prefix, handler))

    def on_reply(self, handler: ReplyHandler) -> None:
        """Have `handler` called with every answer to what this program asked."""
        self._replies.append(handler)

    def asked(self, message_id: str) -> None:
        """Remember a question; of very many the oldest are forgotten."""
        self._open[message_id] = None

    async def run(self, road: Road, *, gone_s: float) -> None:
        """Call the handlers until cancelled. What a handler raises ends it.

        Raises DaemonUnreachable when no daemon came back for `gone_s`, or BrokerUnavailable.
        """
        until: float | None = None
        tries = 0
        while True:
            try:
                async with aclosing(watch(road, Filter())) as events:
                    async for event in events:
                        until, tries = None, 0
                        if (
                            event is None
                        ):  # subscribed, nothing is missed from here on; or a look now and then
                            await self._catch_up(road)
                        else:
                            await self._handle(road, event)
            except (DaemonUnreachable, BrokerUnavailable, ShuttingDown, Lagged) as error:
                gone: NovaError = error
            else:
                gone = DaemonUnreachable("the daemon is stopping.", "novactl up")
            now = asyncio.get_running_loop().time()
            until = now + gone_s if until is None else until
            if now > until:
                raise gone
            await asyncio.sleep(RETRY_S[min(tries, len(RETRY_S) - 1)])
            tries += 1

    async def _handle(self, road: Road, event: Event) -> None:
        for wanted in self._events:
            if event.event.startswith(wanted.prefix) and wanted.filter.wants(event.fields):
                await _called(wanted.handler, event)
        if event.event == f"message.{State.REPLIED}" and event.id in self._open:
            await self._hand_over(road, event.id)

    async def _catch_up(self, road: Road) -> None:
        if self._replies and self._open:
            for question in await road.perhaps_answered(tuple(self._open)):
                await self._hand_over(road, question)

    async def _hand_over(self, road: Road, question: str) -> None:
        if not self._replies:
            return
        try:
            reply = await road.answer(question)
        except MessageNotFound:
            return
        if question in self._open:
            del self._open[question]
            for handler in self._replies:
                await _called(handler, reply)


async def watch(road: Road, wanted: Filter) -> AsyncGenerator[Event | None, None]:
    """Yield None when the daemon listens, then every event that is wanted, until the daemon ends.

    Without a daemon: when every node listens, and None each second besides.
    """
    async with aclosing(road.stream("watch", wanted.to_args(), what=WHAT)) as items:
        async for item in items:
            yield Event.from_json(item) if "event" in item else None


async def _called(handler: Callable[[Any], Awaitable[None] | None], value: object) -> None:
    done = handler(value)
    if inspect.isawaitable(done):
        await done
