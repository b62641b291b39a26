"""What happens: events as a stream, and handlers that are called with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from nova_torch import arguments
from nova_torch.communication.base import Base
from nova_torch.communication.listening import EventHandler, ReplyHandler, watch
from nova_torch.events import Event, Filter


class Watching(Base):
    """The methods that hear of things."""

    async def events(
        self,
        *,
        agent: str | None = None,
        sender: str | None = None,
        state: str | None = None,
        priority: str | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Yield the events of the node as they happen, those that match all that is given, until the daemon ends.

        Without a daemon: those of every node of the fleet that lives, each once, without what panes show; they come
        through the broker, from a node that starts later within 5 s, and while no node lives there are none.
        Raises Lagged when the caller reads too slowly, DaemonUnreachable, and BrokerUnavailable when the broker
        that they come through goes away.
        """
        wanted = Filter(agent=agent, sender=sender, state=state, priority=priority)
        async with aclosing(watch(self._road, wanted)) as events:
            async for event in events:
                if event is not None:
                    yield event

    def on_message(
        self,
        handler: EventHandler,
        *,
        agent: str | None = None,
        sender: str | None = None,
        state: str | None = None,
        priority: str | None = None,
    ) -> None:
        """Have `listen` call `handler` (plain or async) with every change of a message that matches."""
        wanted = Filter(agent=agent, sender=sender, state=state, priority=priority)
        self._listening.on_event(handler, wanted, prefix="message.")

    def on_event(self, handler: EventHandler, *, agent: str | None = None) -> None:
        """Have `listen` call `handler` with every event, of agents too."""
        self._listening.on_event(handler, Filter(agent=agent))

    def on_reply(self, handler: ReplyHandler) -> None:
        """Have `listen` call `handler` with each answer to what this object asked, once."""
        self._listening.on_reply(handler)

    async def listen(self, *, timeout_s: float | None = None) -> None:
        """Call the handlers as things happen: for `timeout_s` seconds, else until it is cancelled.

        A daemon that is started anew is listened to again; what happened meanwhile is not told, but no answer is
        missed. Without a daemon the events are those of `events`, and an answer is noticed within a second or two.
        What a handler raises ends it. Raises DaemonUnreachable when no daemon, BrokerUnavailable when no broker
        answers any more.
        """
        limit_s = arguments.seconds("timeout_s", timeout_s)
        deadline = asyncio.timeout(limit_s)
        try:
            async with deadline:
                await self._listening.run(self._road, gone_s=self._gone_s)
        except TimeoutError:
            if not deadline.expired():
                raise
