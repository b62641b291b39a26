"""The way to the fleet: the daemon of this machine, or, when none runs here, the broker itself.

A message keeps its id on both ways, and whoever owns the agent types an id once. So a call that was lost with its
daemon is simply made again: on the same way when the daemon is back, else on the other.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

from nova_torch import paths
from nova_torch.communication.daemon_box import DaemonBox, only_a_daemon
from nova_torch.communication.postbox import is_over
from nova_torch.config import Config, load, read_password
from nova_torch.errors import (
    BrokerUnavailable,
    DaemonUnreachable,
    InvalidRequest,
    Lagged,
    NovaError,
    ShuttingDown,
)
from nova_torch.fleet import Presence
from nova_torch.values import AgentRecord, Message, Receipt, Reply

if TYPE_CHECKING:
    from nova_torch.communication.broker_box import BrokerBox

    Box = DaemonBox | BrokerBox

T = TypeVar("T")

RETRY_S = (0.05, 0.1, 0.2, 0.5)
TRIES = 3
GONE_S = 30.0
"""How long a message that a daemon accepted is followed while that daemon is away."""
GONE = (DaemonUnreachable, ShuttingDown)


class Road:
    """A connection that is made when it is needed and made again when it is lost.

    `socket` is the control socket of one daemon: that one or an error. `broker` is the URL of a broker to use when
    no daemon answers; by default the one that the configuration and the environment name, if no `socket` is given.
    """

    def __init__(
        self,
        *,
        socket: str | None = None,
        broker: str | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        gone_s: float = GONE_S,
    ) -> None:
        for name, value in (("socket", socket), ("broker", broker)):
            if value is not None and (not isinstance(value, str) or not value):
                raise InvalidRequest(f"{name} must be a text that is not empty.")
        self._socket = socket
        self._broker = broker
        self._clock_ms = clock_ms
        self._gone_s = gone_s
        self._box: Box | None = None
        self._opening = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Road {self._box!r}>"

    async def close(self) -> None:
        """Close the connection, if there is one."""
        box, self._box = self._box, None
        if box is not None:
            await box.close()

    # -- Postbox --

    async def post(self, message: Message) -> Receipt:
        """Hand the message in: to the daemon, else to the broker."""
        return await self._again(lambda box: box.post(message))

    async def follow(self, message_id: str, *, replied: bool = False) -> AsyncIterator[Receipt]:
        """Follow a message; when the daemon that has it goes away, wait for it to come back."""
        last: Receipt | None = None
        until: float | None = None
        tries = 0
        while True:
            box: Box | None = None
            try:
                box = await (self.open() if last is None else self._same_kind())
                updates = box.follow(message_id, replied=replied)
                async with aclosing(_generator(updates)) as stream:
                    async for receipt in stream:
                        until, tries = None, 0
                        if receipt != last:
                            last = receipt
                            yield receipt
                        if is_over(receipt, replied=replied):
                            return
            except (*GONE, Lagged) as error:
                gone: NovaError = error
            else:
                gone = DaemonUnreachable("the daemon is stopping.", "novactl up")
            await self._drop(box)
            now = asyncio.get_running_loop().time()
            until = now + self._gone_s if until is None else until
            if now > until or (last is None and not isinstance(gone, Lagged)):
                raise self._left_alone(message_id, last, gone)
            await asyncio.sleep(RETRY_S[min(tries, len(RETRY_S) - 1)])
            tries += 1

    async def answer(self, message_id: str) -> Reply:
        """Return the answer to a message."""
        return await self._again(lambda box: box.answer(message_id))

    async def reply(
        self, question_id: str, body: str | bytes, *, message_id: str | None, sender: str, priority: str
    ) -> Receipt:
        """Answer a message; `message_id` makes it safe to do again."""
        return await self._again(
            lambda box: box.reply(question_id, body, message_id=message_id, sender=sender, priority=priority)
        )

    # -- the fleet --

    async def agents(self) -> list[AgentRecord]:
        """Return the agents of every node that lives."""
        return await self._again(lambda box: box.agents())

    async def presence(self, name: str) -> Presence:
        """Return what the fleet knows of an agent, or of a node (`node:NAME`)."""
        return await self._again(lambda box: box.presence(name))

    async def trace(self, message_id: str) -> dict[str, Any]:
        """Return every hop of a message."""
        return await self._again(lambda box: box.trace(message_id))

    async def call(self, name: str, args: Mapping[str, Any], *, what: str) -> Any:
        """Make a call that only a daemon answers; `what` says so when there is none. It must be safe to repeat."""

        async def ask(box: Box) -> Any:
            if isinstance(box, DaemonBox):
                return await box.call(name, args)
            raise only_a_daemon(what)

        return await self._again(ask)

    async def stream(self, name: str, args: Mapping[str, Any], *, what: str) -> AsyncGenerator[Any, None]:
        """Make a streaming call that only a daemon answers; it ends with the daemon."""
        box = await self.open()
        if not isinstance(box, DaemonBox):
            raise only_a_daemon(what)
        async with aclosing(box.stream(name, args)) as items:
            async for item in items:
                yield item

    # -- which way --

    async def open(self) -> Box:
        """Return the connection. Raises DaemonUnreachable when neither daemon nor broker can be reached."""
        async with self._opening:
            if self._box is None:
                self._box = await self._connect()
            return self._box

    async def _same_kind(self) -> Box:
        """Return the connection to follow a message on: what a daemon has accepted is its to tell of."""
        async with self._opening:
            if self._box is None:
                self._box = await self._daemon()
            return self._box

    async def _again(self, ask: Callable[[Box], Awaitable[T]]) -> T:
        """Ask; when the connection is lost meanwhile, ask again on a new one."""
        for pause_s in (*RETRY_S[: TRIES - 1], None):
            box = await self.open()
            try:
                return await ask(box)
            except GONE:
                if pause_s is None or not isinstance(box, DaemonBox):
                    raise
                await self._drop(box)
                await asyncio.sleep(pause_s)
        raise AssertionError("the last try raises or returns")

    async def _drop(self, box: Box | None) -> None:
        """Give up a connection that is lost, unless somebody has made a new one meanwhile."""
        if box is not None and self._box is box:
            await self.close()

    async def _connect(self) -> Box:
        try:
            return await self._daemon()
        except DaemonUnreachable as error:
            if self._socket is not None and self._broker is None:
                raise
            unreachable = error
        config = load()
        url = self._broker or _url_of(config)
        if url is None:
            raise DaemonUnreachable(
                f"{unreachable.message} There is no broker to go to instead: none is configured.",
                f"{unreachable.hint} Or name a broker: NOVA_BROKER_URL",
            ) from None
        from nova_torch.communication.broker_box import BrokerBox  # redis: only who has no daemon pays for it

        try:
            return await BrokerBox.connect(
                url,
                prefix=config.broker.prefix,
                password=read_password(config.broker),
                mailbox_limit=config.broker.mailbox_limit,
                clock_ms=self._clock_ms,
                gone_s=self._gone_s,
            )
        except BrokerUnavailable as error:
            raise DaemonUnreachable(
                f"{unreachable.message} Instead of it: {error.message} Nothing was sent.",
                f"{unreachable.hint} Then send again, with the same message_id if there was one.",
            ) from None

    async def _daemon(self) -> DaemonBox:
        """Connect to the daemon: at the usual socket, else at the one that the configuration names."""
        try:
            return await DaemonBox.connect(self._socket)
        except DaemonUnreachable:
            named = "" if self._socket is not None else load().control.socket
            if named in ("", paths.control_socket()):
                raise
            return await DaemonBox.connect(named)

    def _left_alone(self, message_id: str, last: Receipt | None, gone: NovaError) -> NovaError:
        if last is None:
            return gone
        return DaemonUnreachable(
            f"{gone.message} Message {message_id} was {last.state} then, and goes on when the daemon runs again.",
            f"Start it: novactl up; then: novactl trace {message_id}",
        )


def _url_of(config: Config) -> str | None:
    """Return the broker's URL; of an embedded one only when it still runs, after a daemon that was killed."""
    if config.broker.url != "embedded":
        return config.broker.url
    socket = os.path.join(config.state.dir, "broker", "broker.sock")
    return f"unix://{socket}" if os.path.exists(socket) else None


def _generator(items: AsyncIterator[Receipt]) -> AsyncGenerator[Receipt, None]:
    """Return `items` as what it is, so that it can be closed."""
    assert isinstance(items, AsyncGenerator)
    return items
