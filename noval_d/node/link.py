"""Keep the node connected to its broker: embedded server, connection, epoch, lease, claims. Says when it is not.

The lease is judged by this node's own monotonic clock, less a margin (BROKER 4).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from nova_torch.broker import Broker, BrokerInfo, Owner
from nova_torch.errors import BrokerUnavailable, NotOwner, NovaError
from nova_torch.values import AgentId, NodeId
from noval_d.node.embedded import EmbeddedKeeper

log = logging.getLogger("nova.broker")

T = TypeVar("T")

RETRY_S = (0.2, 0.5, 1.0, 2.0)
LEASE_MARGIN = 0.2  # of the lease: how much earlier the node itself believes it to be over
PROBE_S = 1.0


class BrokerLink:
    """The node's way to the broker. `state` is down or up; `broker` and `owner` are None while it is down."""

    def __init__(
        self,
        *,
        node: NodeId,
        url: str,
        prefix: str,
        password: str | None,
        lease_s: float,
        beat_s: float,
        keeper: EmbeddedKeeper | None,
        blob: Callable[[], bytes],
        agents: Callable[[], Iterable[AgentId]],
        clock: Callable[[], float],
    ) -> None:
        self._node = node
        self._url = url
        self._prefix = prefix
        self._password = password
        self._lease_s = lease_s
        self._beat_s = beat_s
        self._keeper = keeper
        self._blob = blob
        self._agents = agents
        self._clock = clock
        self._claimed: set[AgentId] = set()
        self._lease_until = -1.0
        self._broken = asyncio.Event()
        self._up = asyncio.Event()
        self._beat_now = asyncio.Event()
        self._generation = ""
        self._on_up: list[Callable[[bool], None]] = []
        self._on_lost: list[Callable[[], Awaitable[None]]] = []
        self.broker: Broker | None = None
        self.owner: Owner | None = None
        self.info: BrokerInfo | None = None
        self.state = "down"
        self.problem = "not connected yet"

    def __repr__(self) -> str:
        return f"<BrokerLink {self.url} {self.state} claimed={len(self._claimed)}>"

    @property
    def url(self) -> str:
        """The broker's URL without secrets."""
        if self.broker is not None:
            return self.broker.url_shown
        return "embedded" if self._keeper is not None else self._url

    @property
    def lease_ok(self) -> bool:
        """Whether this node may still act for mailboxes it read."""
        return self._clock() < self._lease_until

    @property
    def lease_left_s(self) -> float:
        """How long the lease still holds by this node's own clock; not above 0 when it is over."""
        return self._lease_until - self._clock()

    def on_up(self, callback: Callable[[bool], None]) -> None:
        """Call `callback(lost)` after each connection; `lost` says that the broker lost its data since."""
        self._on_up.append(callback)

    def on_lost(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Call (and await) `callback` when the broker lost its data, before it is used again."""
        self._on_lost.append(callback)

    def claimed(self, agent: AgentId) -> bool:
        """Whether this node's claim on the agent's mailbox was taken by the broker."""
        return agent in self._claimed

    def claim_again(self, agent: AgentId) -> None:
        """Claim the mailbox anew with the next beat: the broker says it is not ours, or it is gone."""
        self._claimed.discard(agent)
        self._beat_now.set()

    def beat_soon(self) -> None:
        """Tell the fleet of a change without waiting for the next beat."""
        self._beat_now.set()

    def failed(self, error: BrokerUnavailable) -> None:
        """Note that somebody could not reach the broker; the link connects anew."""
        self.problem = error.message
        self._broken.set()

    async def wait_up(self) -> Broker:
        """Return the broker as soon as it is there."""
        while self.broker is None:
            self._up.clear()
            await self._up.wait()
        return self.broker

    async def while_up(self, blocking: Awaitable[list[T]]) -> list[T]:
        """Await a blocking read; nothing is read when this link gave its connection up meanwhile.

        That ends the read with a cancellation, which nobody asked the caller's task for.
        """
        try:
            return await blocking
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return []

    async def claim(self, agent: AgentId) -> None:
        """Claim one mailbox now. Raises BrokerUnavailable, or NotOwner when another node has it."""
        if self.broker is not None and self.owner is not None:
            await self.broker.claim(agent, self.owner)
            self._claimed.add(agent)
            self._beat_now.set()

    async def release(self, agent: AgentId) -> None:
        """Give one mailbox up for good."""
        self._claimed.discard(agent)
        if self.broker is not None and self.owner is not None:
            await self.broker.release(agent, self.owner, drop=True)
            self._beat_now.set()

    async def run(self) -> None:
        """Stay connected until cancelled; leave the fleet in order then."""
        attempt = 0
        try:
            while True:
                try:
                    await self._connect()
                except NovaError as error:
                    self.problem = error.message
                    delay = RETRY_S[min(attempt, len(RETRY_S) - 1)]
                    attempt += 1
                    await asyncio.sleep(delay * random.uniform(0.8, 1.2))
                    continue
                attempt = 0
                await self._stay()
                await self._drop()
        finally:
            await self._leave()

    async def _connect(self) -> None:
        url = await self._keeper.url() if self._keeper is not None else self._url
        broker = await Broker.connect(url, prefix=self._prefix, password=self._password)
        try:
            self.info = await broker.info()
            generation = await broker.generation()
            epoch = await broker.claim_epoch(self._node)
            self.owner = Owner(node=self._node, epoch=epoch)
            await self._beat(broker)
            lost = bool(self._generation) and generation != self._generation
            if lost:  # before anybody sends: what was lost goes first, so that the order is kept
                for repair in self._on_lost:
                    await repair()
        except (BrokerUnavailable, NotOwner) as error:
            await broker.close()
            raise BrokerUnavailable(error.message, error.hint) from None
        except BaseException:
            await broker.close()
            raise
        self._generation = generation
        self._broken.clear()
        self.broker, self.state, self.problem = broker, "up", ""
        self._up.set()
        log.info("broker.up", extra={"url": broker.url_shown, "lost": lost, "epoch": epoch})
        for callback in self._on_up:
            callback(lost)

    async def _stay(self) -> None:
        """Beat until something breaks."""
        broker = self.broker
        assert broker is not None
        while not self._broken.is_set():
            await self._sleep(self._beat_s * random.uniform(0.9, 1.1))
            if self._broken.is_set():
                return
            try:
                # first, so that no mailbox of a wiped broker is claimed before what was lost is sent again
                if await self._unless_broken(self._beat_if_the_same(broker)):
                    self.problem = "the broker lost its data"
                    return
            except BrokerUnavailable as error:
                self.problem = error.message
                return
            except NotOwner as error:
                self.problem = error.message
                return

    async def _beat_if_the_same(self, broker: Broker) -> bool:
        """Beat; True when the broker lost its data instead."""
        if await broker.generation() != self._generation:
            return True
        await self._beat(broker)
        return False

    async def _unless_broken(self, work: Coroutine[Any, Any, bool]) -> bool:
        """Do this, but no longer than until somebody else has waited in vain for the same broker: False then."""
        task = asyncio.create_task(work, name="broker.beat")
        broken = asyncio.create_task(self._broken.wait(), name="broker.broken")
        try:
            await asyncio.wait((task, broken), return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else False
        finally:
            broken.cancel()
            task.cancel()
            await asyncio.gather(task, broken, return_exceptions=True)

    async def _sleep(self, seconds: float) -> None:
        broken = asyncio.ensure_future(self._broken.wait())
        asked = asyncio.ensure_future(self._beat_now.wait())
        try:
            await asyncio.wait((broken, asked), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            broken.cancel()
            asked.cancel()
        self._beat_now.clear()

    async def _beat(self, broker: Broker) -> None:
        owner = self.owner
        assert owner is not None
        sent = self._clock()
        await broker.beat(self._node, owner.epoch, self._blob(), ttl_s=self._lease_s)
        self._lease_until = sent + self._lease_s * (1 - LEASE_MARGIN)
        for agent in list(self._agents()):
            if agent in self._claimed:
                continue
            try:
                await broker.claim(agent, owner)
            except NotOwner as error:
                log.warning("broker.claim_refused", extra={"agent": agent, "problem": error.message})
            else:
                self._claimed.add(agent)

    async def _drop(self) -> None:
        broker, self.broker = self.broker, None
        self.state = "down"
        self._claimed.clear()
        self._up.clear()
        log.warning("broker.down", extra={"problem": self.problem})
        if broker is not None:
            await broker.close()

    async def _leave(self) -> None:
        broker, owner = self.broker, self.owner
        self.broker = None
        if broker is None or owner is None:
            return
        try:
            async with asyncio.timeout(2.0):
                await broker.leave(self._node, owner.epoch)
        except (BrokerUnavailable, TimeoutError, NotOwner) as error:
            log.warning("broker.left_in_a_hurry", extra={"problem": str(error)})
        finally:
            await broker.close()
