"""Keep the node connected to its broker: embedded server, connection, epoch, lease, claims. Says when it is not.

The lease is judged by this node's own monotonic clock, less a margin (BROKER 4).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from weakref import WeakSet

from nova_torch.broker import Broker, BrokerInfo, Owner
from nova_torch.errors import BrokerGivenUp, BrokerUnavailable, KeyUnfit, NotOwner, NovaError
from nova_torch.login import Login
from nova_torch.nodes import Pace, pace
from nova_torch.redaction import without_password
from nova_torch.values import AgentId, NodeId
from noval_d.fleet.saying import Saying
from noval_d.node.claims import Claims
from noval_d.node.embedded import EmbeddedKeeper
from noval_d.node.misfits import Misfits
from noval_d.node.pulse import idle, rest

log = logging.getLogger("nova.broker")

RETRY_S = (0.2, 0.5, 1.0, 2.0)
STEADY_S = 10.0  # a connection that breaks sooner is one more try in vain, whatever it could do
LEASE_MARGIN = 0.2  # of the lease: how much earlier the node itself believes it to be over
UNFIT_S = 1.0  # how long what met a key of another type waits before it tries again


def since_boot() -> float:
    """Return how long the machine runs, in s, the time that it slept included: a lease ends meanwhile."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class BrokerLink:
    """The node's way to the broker. `state` is down or up; `broker` and `owner` are None while it is down."""

    def __init__(
        self,
        *,
        node: NodeId,
        url: str,
        prefix: str,
        login: Callable[[], Login],
        lease_s: float,
        beat_s: float,
        keeper: EmbeddedKeeper | None,
        saying: Saying,
        agents: Callable[[], Iterable[AgentId]],
        clock: Callable[[], float],
        bearer: Callable[[], str] = str,
        strict: Callable[[], bool] = bool,
    ) -> None:
        self._node = node
        self._url = url
        self._prefix = prefix
        self._login = login
        self._base_lease_s, self._base_beat_s = lease_s, beat_s
        self._keeper = keeper
        self._saying = saying
        self._clock = clock
        self._bearer, self._strict = bearer, strict
        self.misfits = Misfits(node, agents)
        self._unfit: WeakSet[asyncio.Task[Any]] = WeakSet()
        """Tasks that met a key of another type: each waits a little before it tries again."""
        self.claims = Claims(node, agents)
        self._lease_until = -1.0
        self._steady_since = float("-inf")
        self._beaten_at = float("-inf")
        self._on_order: Callable[[bytes], None] = lambda _order: None
        self._order_done: Callable[[], bytes] = bytes
        self._broken = asyncio.Event()
        self._up = asyncio.Event()
        self._beat_now = asyncio.Event()
        self._beating: asyncio.Timeout | None = None  # of the beat that is under way
        self._generation = ""
        self._on_up: list[Callable[[bool], None]] = []
        self._on_lost: list[Callable[[], Awaitable[None]]] = []
        self.superseded = ""
        """Why this node does nothing: another daemon bears its name."""
        self.broker: Broker | None = None
        self.owner: Owner | None = None
        self.info: BrokerInfo | None = None
        self.pace: Pace = pace(1, beat_s=beat_s, lease_s=lease_s)
        self.state = "down"
        self.problem = "it is not connected yet."
        self.cure = ""
        self.demanding = 0  # so many living nodes took only what is signed, at the last beat
        self._unsteady = False
        """The last connection broke soon: what broke it stays told until this one has held for a beat."""

    def __repr__(self) -> str:
        return f"<BrokerLink {self.url} {self.state} claimed={len(self.claims)}>"

    @property
    def url(self) -> str:
        """The broker's URL without secrets."""
        if self.broker is not None:
            return self.broker.url_shown
        return "embedded" if self._keeper is not None else without_password(self._url)

    @property
    def lease_ok(self) -> bool:
        """Whether this node may still act for mailboxes it read."""
        return self._clock() < self._lease_until

    @property
    def lease_left_s(self) -> float:
        """How long the lease still holds by this node's own clock; not above 0 when it is over."""
        return self._lease_until - self._clock()

    @property
    def steady(self) -> bool:
        """Whether this node has beaten without a gap for as long as a lease: only then can it tell who is dead.

        Else the gap may have been everybody's: a broker that stood still, or this node's own event loop.
        """
        return self.lease_ok and self._clock() - self._steady_since >= self.pace.lease_s

    def on_order(self, callback: Callable[[bytes], None], done: Callable[[], bytes]) -> None:
        """Call `callback` with the order that waits for this node, with each beat until `done` gives that one."""
        self._on_order, self._order_done = callback, done

    def on_up(self, callback: Callable[[bool], None]) -> None:
        """Call `callback(lost)` after each connection; `lost` says that the broker lost its data since."""
        self._on_up.append(callback)

    def on_lost(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Call (and await) `callback` when the broker lost its data, before it is used again."""
        self._on_lost.append(callback)

    def taken(self, agent: AgentId) -> bool:
        """Whether another node has had the agent since this one was away."""
        return self.claims.taken(agent)

    def taken_by(self, agent: AgentId) -> str:
        """Return the sentence that says which node has the agent, or nothing."""
        return self.claims.taken_by(agent)

    def claimed(self, agent: AgentId) -> bool:
        """Whether this node's claim on the agent's mailbox was taken by the broker."""
        return agent in self.claims

    def claim_again(self, agent: AgentId) -> None:
        """Claim the mailbox anew with the next beat: the broker says it is not ours, or it is gone."""
        self.claims.void(agent)
        self._beat_now.set()

    def beat_soon(self) -> None:
        """Tell the fleet of a change without waiting for the next beat."""
        self._beat_now.set()

    def failed(self, error: BrokerUnavailable) -> None:
        """Note that somebody could not reach the broker; the link connects anew. For a key's type it does not.

        Whoever was in the way of a connection that the link gave up itself has no news.
        """
        if isinstance(error, KeyUnfit):
            if (task := asyncio.current_task()) is not None:
                self._unfit.add(task)
            return
        if isinstance(error, BrokerGivenUp):
            return
        self._note(error)
        self._broken.set()
        self._beat_now.set()  # it sleeps no longer
        if self._beating is not None and not self._beating.expired():
            self._beating.reschedule(0)

    def unfit(self, agents: Iterable[AgentId] = ()) -> None:
        """Note that a key, perhaps one of these agents' mailboxes, is of another type; everything else goes on."""
        if not self.misfits.due:
            self._beat_now.set()
        self.misfits.suspect(agents)

    async def wait_up(self) -> Broker:
        """Return the broker as soon as it is there."""
        if self._unfit and (task := asyncio.current_task()) is not None and task in self._unfit:
            self._unfit.discard(task)
            await rest(UNFIT_S)
        while self.broker is None:
            self._up.clear()
            await idle(self._up.wait)
        return self.broker

    async def claim(self, agent: AgentId) -> None:
        """Claim one mailbox now. Raises BrokerUnavailable, or NotOwner when another node has it."""
        if self.broker is not None and self.owner is not None:
            await self.claims.claim(self.broker, self.owner, agent)
            self._beat_now.set()

    async def release(self, agent: AgentId) -> None:
        """Give one mailbox up for good; while the broker is away, as soon as it is back."""
        await self.claims.release(self.broker, self.owner, agent)
        if self.broker is not None:
            self._beat_now.set()

    async def run(self) -> None:
        """Stay connected until cancelled; leave the fleet in order then."""
        attempt = 0
        try:
            while True:
                try:
                    await self._connect()
                except NovaError as error:
                    self._note(error)
                else:
                    since = self._clock()
                    await self._stay(since)
                    await self._drop()
                    self._unsteady = self._clock() - since < STEADY_S
                    attempt = attempt if self._unsteady else 0
                delay = RETRY_S[min(attempt, len(RETRY_S) - 1)]
                attempt += 1
                await asyncio.sleep(delay * random.uniform(0.8, 1.2))
        finally:
            await self._leave()

    def _note(self, error: NovaError) -> None:
        self.problem, self.cure = error.message, error.hint

    async def _connect(self) -> None:
        url = await self._keeper.url() if self._keeper is not None else self._url
        broker = await Broker.connect(url, prefix=self._prefix, login=self._login())
        broker.on_unfit(self.unfit)
        try:
            self.info = _fit(await broker.info())
            generation = await broker.generation()
            try:
                epoch = await broker.claim_epoch(self._node, self._bearer())
            except NotOwner:
                raise self._supersede() from None
            self.superseded = ""
            self.owner = Owner(node=self._node, epoch=epoch)
            self._saying.forget()
            await self._beat(broker)
            lost = bool(self._generation) and generation != self._generation
            if lost:  # before anybody sends: what was lost goes first, so that the order is kept
                for repair in self._on_lost:
                    await repair()
        except BrokerUnavailable as error:
            told = await self.misfits.explained(broker, error)
            await broker.close()
            raise told from None
        except NotOwner as error:
            await broker.close()
            raise BrokerUnavailable(error.message, error.hint) from None
        except BaseException:
            await broker.close()
            raise
        self._generation = generation
        self._broken.clear()
        self.broker, self.state = broker, "up"
        if not self._unsteady:
            self.problem = self.cure = ""
        self._up.set()
        log.info("broker.up", extra={"url": broker.url_shown, "lost": lost, "epoch": epoch})
        for callback in self._on_up:
            callback(lost)

    async def _stay(self, since: float) -> None:
        """Beat until something breaks."""
        broker = self.broker
        assert broker is not None
        await self._sleep(self.pace.beat_s * random.uniform(0.1, 0.9))  # others connected in the same moment
        while not self._broken.is_set():
            try:
                if await self._unless_broken(broker):
                    self.problem, self.cure = "the broker lost its data.", "What it lost is sent again."
                    return
            except BrokerUnavailable as error:
                self._note(error)
                return
            except NotOwner:  # of a later epoch, which this daemon did not take
                self._note(self._supersede())
                return
            if not self._broken.is_set() and self._clock() - since >= self.pace.beat_s / 2:
                self.problem = self.cure = ""
            await self._sleep(self.pace.beat_s * random.uniform(0.9, 1.1))

    def _supersede(self) -> BrokerUnavailable:
        """Stop acting for this node's name: another daemon has its lease."""
        error = BrokerUnavailable(
            f"another daemon bears the name {self._node}: this one does nothing meanwhile.",
            "Stop one of them, or give one another name (node.name) and a state directory of its own.",
        )
        self.superseded, self._lease_until = error.message, -1.0
        return error

    async def lost(self, broker: Broker) -> bool:
        """Tell whether the broker lost its data since the connection. Raises BrokerUnavailable."""
        return await broker.generation() != self._generation

    async def _unless_broken(self, broker: Broker) -> bool:
        """Beat, but no longer than until somebody else has waited in vain for the same broker: False then."""
        try:
            async with asyncio.timeout(None) as self._beating:
                return await self._beat(broker)
        except TimeoutError:
            if not self._broken.is_set():
                raise
            return False
        finally:
            self._beating = None

    async def _sleep(self, seconds: float) -> None:
        """Wait for the next beat, which may be asked for sooner: what changes together is told together."""
        due = asyncio.get_running_loop().call_later(seconds, self._beat_now.set)
        try:
            await idle(self._beat_now.wait)
        finally:
            due.cancel()
        early_s = self._beaten_at + self.pace.soon_s - self._clock()
        if early_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(early_s):
                    await self._broken.wait()
        self._beat_now.clear()

    async def _beat(self, broker: Broker) -> bool:
        """Beat; True when the connected broker has lost its data meanwhile: that beat does not count."""
        owner = self.owner
        assert owner is not None
        sent, lease_s = self._clock(), self.pace.lease_s
        said = self._saying.next(sent)
        reply = await broker.beat(
            self._node, owner.epoch, said.blob, ttl_s=lease_s, news=said.news, done=self._order_done(),
            strict=self._strict(),
        )  # fmt: skip
        # first, so that no mailbox of a wiped broker is claimed before what was lost is sent again
        if self.broker is not None and reply.generation != self._generation:
            return True
        self.demanding = reply.demanding
        lapsed = sent >= self._lease_until
        if lapsed:  # somebody else may have taken what was this node's
            self.claims.void()
            if self._beaten_at > float("-inf"):
                self._steady_since = sent
        self._beaten_at, self._lease_until = sent, sent + lease_s * (1 - LEASE_MARGIN)
        self.pace = pace(reply.living, beat_s=self._base_beat_s, lease_s=self._base_lease_s)
        if reply.kept:
            self._saying.said(said, sent, self.pace.again_s)
        else:
            self._saying.forget()
            self._beat_now.set()
        if reply.order:
            self._on_order(reply.order)
        mended = self.misfits.due and await self._mended(broker)
        await self.claims.claim_all(broker, owner, self.unfit)
        # as after a connection: what others read meanwhile is not new
        if (lapsed or mended) and self.broker is not None:
            for callback in self._on_up:
                callback(mended)
        return False

    async def _mended(self, broker: Broker) -> bool:
        """Look at the keys; when one is right again, what was in it is lost and sent again before anything else."""
        if not await self.misfits.look(broker):
            return False
        self.claims.void()
        for repair in self._on_lost:
            await repair()
        return True

    async def _drop(self) -> None:
        broker, self.broker = self.broker, None
        self.state = "down"
        self.claims.void()
        self._up.clear()
        log.warning("broker.down", extra={"problem": self.problem, "cure": self.cure})
        if broker is not None:
            await broker.close()

    async def _leave(self) -> None:
        broker, owner = self.broker, self.owner
        self.broker = None
        if broker is None or owner is None:
            return
        try:
            async with asyncio.timeout(2.0):
                await broker.leave(self._node, owner.epoch, self._saying.last_word())
        except (BrokerUnavailable, TimeoutError, NotOwner) as error:
            log.warning("broker.left_in_a_hurry", extra={"problem": str(error)})
        finally:
            await broker.close()


def _fit(info: BrokerInfo) -> BrokerInfo:
    """Return `info` of a broker with which something works at all; raise BrokerUnavailable otherwise."""
    if info.unusable:
        raise BrokerUnavailable(info.unusable, "Update it, or lead broker.url to another.")
    return info
