"""The way to the fleet: the daemon of this machine, or, when none runs here, the broker itself.

A message keeps its id on both ways, and whoever owns the agent types an id once. So a call that was lost with its
daemon is simply made again: on the same way when the daemon is back, else on the other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

from nova_torch.communication.daemon_box import DaemonBox
from nova_torch.communication.doors import Doors
from nova_torch.communication.postbox import is_over
from nova_torch.errors import (
    DaemonUnreachable,
    Lagged,
    NovaError,
    ShuttingDown,
)
from nova_torch.fleet import Presence
from nova_torch.recent import Recent
from nova_torch.registry import Query
from nova_torch.values import AgentRecord, Message, Receipt, Reply

if TYPE_CHECKING:
    from nova_torch.communication.broker_box import BrokerBox

    Box = DaemonBox | BrokerBox

T = TypeVar("T")

RETRY_S = (0.05, 0.1, 0.2, 0.5)
TRIES = 3
KEPT = 1000
GONE_S = 30.0
"""How long a message that a daemon accepted is followed while that daemon is away."""
GONE = (DaemonUnreachable, ShuttingDown)


class Road:
    """A connection that is made when it is needed and made again when it is lost; see Doors for its arguments."""

    def __init__(
        self,
        *,
        socket: str | None = None,
        broker: str | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        gone_s: float = GONE_S,
    ) -> None:
        self._doors = Doors(socket=socket, broker=broker, clock_ms=clock_ms, gone_s=gone_s)
        self._gone_s = gone_s
        self._accepted: Recent[Receipt] = Recent(KEPT)
        """What a daemon accepted from here: it is waited for when it goes away."""
        self._direct: Recent[None] = Recent(KEPT)
        """What was put into the broker from here."""

    def __repr__(self) -> str:
        return f"<Road {self._doors!r}>"

    async def close(self) -> None:
        """Close what is open."""
        await self._doors.close()

    async def open(self) -> Box:
        """Return the connection. Raises DaemonUnreachable when neither daemon nor broker can be reached."""
        return await self._doors.any()

    # -- Postbox --

    async def post(self, message: Message) -> Receipt:
        """Hand the message in: to the daemon, else to the broker."""

        async def post(box: Box) -> Receipt:
            receipt = await box.post(message)
            self._accepted.pop(message.id, None)
            self._direct.pop(message.id, None)
            if isinstance(box, DaemonBox):
                self._accepted[message.id] = receipt
            else:
                self._direct[message.id] = None
            return receipt

        return await self._again(post)

    async def follow(self, message_id: str, *, replied: bool = False) -> AsyncIterator[Receipt]:
        """Follow a message; when the daemon that has it goes away, wait for it to come back."""
        last: Receipt | None = None
        known = self._accepted.get(message_id)
        until: float | None = None
        tries = 0
        while True:
            box: Box | None = None
            try:
                box = await (self._way_of(message_id) if known is None else self._doors.daemon())
                updates = box.follow(message_id, replied=replied)
                async with aclosing(_generator(updates)) as stream:
                    async for receipt in stream:
                        until, tries = None, 0
                        if receipt != last:
                            last = receipt
                            known = receipt if isinstance(box, DaemonBox) else None
                            yield receipt
                        if is_over(receipt, replied=replied):
                            return
            except (*GONE, Lagged) as error:
                gone: NovaError = error
            else:
                gone = DaemonUnreachable("the daemon is stopping.", "novactl up")
            await self._doors.lost(box)
            now = asyncio.get_running_loop().time()
            until = now + self._gone_s if until is None else until
            if now > until or (known is None and not isinstance(gone, Lagged)):
                raise _left_alone(message_id, known, gone)
            await asyncio.sleep(RETRY_S[min(tries, len(RETRY_S) - 1)])
            tries += 1

    async def answer(self, message_id: str) -> Reply:
        """Return the answer to a message."""
        return await self._again(lambda box: box.answer(message_id), message_id)

    async def reply(
        self, question_id: str, body: str | bytes, *, message_id: str | None, sender: str, priority: str
    ) -> Receipt:
        """Answer a message; `message_id` makes it safe to do again."""
        return await self._again(
            lambda box: box.reply(question_id, body, message_id=message_id, sender=sender, priority=priority)
        )

    async def perhaps_answered(self, questions: Sequence[str]) -> list[str]:
        """Return those of `questions` whose answer is worth asking for."""
        box = await self.open()
        return list(questions) if isinstance(box, DaemonBox) else await box.answered(questions)

    # -- the fleet --

    async def agents(self, query: Query | None = None) -> list[AgentRecord]:
        """Return the agents of the fleet that match, by name; those of a node that is away are `lost`."""
        return await self._again(lambda box: box.find(query or Query()))

    async def presence(self, name: str) -> Presence:
        """Return what the fleet knows of an agent, or of a node (`node:NAME`)."""
        return await self._again(lambda box: box.presence(name))

    async def trace(self, message_id: str) -> dict[str, Any]:
        """Return every hop of a message."""
        return await self._again(lambda box: box.trace(message_id), message_id)

    async def call(
        self, name: str, args: Mapping[str, Any], *, what: str, caller: bool = False, again: bool = True
    ) -> Any:
        """Make a call of the control protocol, which must be safe to repeat unless it is not made `again`.

        Without a daemon the nodes of the fleet answer it; `what` says why, if only a daemon can. With `caller` the
        daemon is told in whose pane this program runs.
        """

        async def ask(box: Box) -> Any:
            if isinstance(box, DaemonBox):
                return await box.call(name, {**args, **box.caller} if caller else args)
            return await box.fleet.call(name, args, what=what)

        return await (self._again(ask) if again else self._once(ask))

    async def stream(self, name: str, args: Mapping[str, Any], *, what: str) -> AsyncGenerator[Any, None]:
        """Make a streaming call, as `call`; with a daemon it ends with that one."""
        box = await self.open()
        calls = box if isinstance(box, DaemonBox) else box.fleet
        try:
            async with aclosing(calls.stream(name, args, what=what)) as items:
                async for item in items:
                    yield item
        except GONE:
            await self._doors.lost(box)
            raise

    # -- which way --

    async def _way_of(self, message_id: str) -> Box:
        """Return where a message went from here; any way, when it did not."""
        if message_id in self._accepted:
            return await self._doors.daemon()
        if message_id in self._direct and self._doors.broker is not None:
            return self._doors.broker
        return await self.open()

    async def _once(self, ask: Callable[[Box], Awaitable[T]]) -> T:
        """Ask; when the connection is lost meanwhile, whether it was done is not known."""
        box = await self.open()
        try:
            return await ask(box)
        except GONE:
            await self._doors.lost(box)
            raise

    async def _again(self, ask: Callable[[Box], Awaitable[T]], message_id: str = "") -> T:
        """Ask; when the connection is lost meanwhile, ask again on a new one."""
        for pause_s in (*RETRY_S[: TRIES - 1], None):
            box = await self._way_of(message_id)
            try:
                return await ask(box)
            except GONE:
                if pause_s is None or not isinstance(box, DaemonBox):
                    raise
                await self._doors.lost(box)
                await asyncio.sleep(pause_s)
        raise AssertionError("the last try raises or returns")


def _left_alone(message_id: str, known: Receipt | None, gone: NovaError) -> NovaError:
    if known is None:
        return gone
    return DaemonUnreachable(
        f"{gone.message} Message {message_id} was {known.state} then, and goes on when the daemon runs again.",
        f"Start it: novactl up; then: novactl trace {message_id}",
    )


def _generator(items: AsyncIterator[Receipt]) -> AsyncGenerator[Receipt, None]:
    """Return `items` as what it is, so that it can be closed."""
    assert isinstance(items, AsyncGenerator)
    return items
