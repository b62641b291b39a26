"""From the mailboxes into the workers' hands: bells, sweeps, repeats, and letting go of what is settled.

A message may arrive more than once (resent, read again after a crash, straight from the outbox while the broker is
down); the ledger and the workers know it by its id, and it is typed once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from nova_torch.broker import Broker, Entry, Lane, Owner
from nova_torch.broker.connection import MAX_BLOCK_S
from nova_torch.codec import decode_message
from nova_torch.errors import (
    BrokerUnavailable,
    InvalidRequest,
    KeyUnfit,
    MailboxLost,
    MessageNewer,
    NotOwner,
    StoreFailed,
)
from nova_torch.keys import ASKS, ORDERS, SCHEDULES
from nova_torch.ulid import is_ulid
from nova_torch.values import UNDELIVERED, AgentId, Hop, Kind, Message, MessageId, NodeId, State
from noval_d.delivery.item import Item, restored
from noval_d.failpoints import failpoint
from noval_d.mailroom.ledger import Entry as LedgerEntry
from noval_d.mailroom.ledger import Ledger, Phase
from noval_d.mailroom.outgoing import Outgoing
from noval_d.mailroom.seals import Seals, Unproven
from noval_d.node.link import BrokerLink
from noval_d.node.pulse import at_most, idle, rest, spread
from noval_d.talk.pigeonhole import Hand

log = logging.getLogger("nova.inbox")

SWEEP_S = 12.0  # a lost bell costs at most this (BROKER 4)
READ = 32

Answer = Callable[[NodeId, Hop], None]
Settle = Callable[[Item, State, str], Awaitable[None]]


class Inbox:
    """Brings what waits in this node's mailboxes to the workers.

    `forgotten` tells of a message that the ledger does not know whether the ledger may have known it once.
    `arrived` writes down, of an answer that is new, what it means to its question. `schedules` hears of agents
    whose schedules another node changed. `unfit` says of a message from the broker, which is sealed and new here,
    why it is not taken. `rejected` hears of one that is not sealed as it must be.
    """

    def __init__(
        self,
        *,
        node: NodeId,
        ledger: Ledger,
        link: BrokerLink,
        workers: Mapping[AgentId, Hand],
        clock_ms: Callable[[], int],
        answer: Answer,
        settle: Settle,
        forgotten: Callable[[Message], bool],
        arrived: Callable[[Item], Awaitable[None]],
        schedules: Callable[[AgentId], None],
        asked: Callable[[], None],
        seals: Seals,
        unfit: Callable[[Message, AgentId], str],
        rejected: Callable[[Message, bytes, str], None],
    ) -> None:
        self._node = node
        self._ledger = ledger
        self._link = link
        self._workers = workers
        self._clock_ms = clock_ms
        self._answer = answer
        self._settle = settle
        self._forgotten = forgotten
        self._arrived = arrived
        self._schedules = schedules
        self._asked = asked
        self._seals = seals
        self._unfit = unfit
        self._rejected = rejected
        self._unread: set[AgentId] = set()
        self._pending: set[AgentId] = set()
        self.newer: dict[AgentId, set[str]] = {}
        """Messages that only a newer version can read, for each agent: they stay in the mailbox until it does."""
        self._full: set[AgentId] = set()
        """Agents whose mailboxes hold more than their workers had room for."""
        self._news = asyncio.Event()
        self._letting_go: asyncio.Queue[tuple[Item, State, str]] = asyncio.Queue()

    def __repr__(self) -> str:
        return f"<Inbox unread={len(self._unread)} letting_go={self._letting_go.qsize()}>"

    # -- in --

    def restore(self) -> int:
        """Put every unsettled message of the ledger back into its worker's hands; return how many."""
        count = 0
        for entry in self._ledger.unsettled():
            worker = self._workers.get(entry.agent)
            if entry.phase is Phase.RECEIVED and self._link.taken(entry.agent):
                continue
            if worker is not None and worker.find(entry.message.id) is None:
                worker.put(restored(entry))
                count += 1
        return count

    async def deliver(self, outgoing: Outgoing) -> None:
        """Take a message straight from this node's outbox: the broker is down."""
        await self._take(outgoing.agent, outgoing.envelope, None)

    def recheck(self, *, pending: bool) -> None:
        """Read every mailbox again; with `pending` first what was read before and never acknowledged."""
        self._unread.update(self._workers)
        if pending:
            self._pending.update(self._workers)
        self._news.set()

    def claimed(self, agent: AgentId) -> None:
        """Read a mailbox that has become this node's, first what another owner read and never acknowledged."""
        self._pending.add(agent)
        self._unread.add(agent)
        self._news.set()

    def read_on(self, agent: AgentId) -> None:
        """Read a mailbox further: its worker has room again without having settled anything."""
        self._full.discard(agent)
        self._unread.add(agent)
        self._news.set()

    async def run_bells(self) -> None:
        """Listen to the node's bell until cancelled; a sweep finds what a lost bell hid."""
        while True:
            try:
                broker = await self._link.wait_up()
                bells = await broker.bells(self._node, block_s=at_most(MAX_BLOCK_S))
            except BrokerUnavailable as error:
                self._link.failed(error)
                if isinstance(error, KeyUnfit):  # no bell rings: look oneself
                    self.recheck(pending=False)
                continue
            for agent, _lane in bells:
                if agent == ORDERS:
                    self._link.beat_soon()  # the next beat brings it
                elif agent == ASKS:
                    self._asked()
                elif agent.startswith(SCHEDULES):
                    self._schedules(AgentId(agent[len(SCHEDULES) :]))
                else:
                    self._unread.add(AgentId(agent))
            if bells:
                self._news.set()

    async def run_sweep(self) -> None:
        """Look into every mailbox now and then."""
        while True:
            await rest(spread(SWEEP_S))
            await self.sweep()

    async def sweep(self) -> None:
        """Have those mailboxes read that hold anything: nobody may have rung for it."""
        broker, owner = self._link.broker, self._link.owner
        if broker is None or owner is None:
            return  # all are read as soon as it is back
        claimed = [agent for agent in self._workers if self._link.claimed(agent)]
        try:
            found = await broker.worth_reading(claimed, owner)
        except KeyUnfit:  # one of them cannot be told: each is read for itself
            self.recheck(pending=False)
            return
        except BrokerUnavailable as error:
            self._link.failed(error)
            return
        if found:
            self._unread.update(map(AgentId, found))
            self._news.set()

    async def run_reader(self) -> None:
        """Read the mailboxes that have something, as far as their workers have room."""
        while True:
            await idle(self._news.wait)
            self._news.clear()
            agents, self._unread = self._unread, set()
            for agent in agents:
                try:
                    await self._read(agent)
                except KeyUnfit:  # the next sweep tries it again
                    self._pending.add(agent)
                    self._link.unfit([agent])
                except BrokerUnavailable as error:
                    self._link.failed(error)
                    self._unread.add(agent)
                except (NotOwner, MailboxLost):
                    log.warning("inbox.not_owner", extra={"agent": agent})
                    self._pending.add(agent)  # what another owner read meanwhile is not new any more
                    self._link.claim_again(agent)
                except StoreFailed as error:
                    log.warning("inbox.store_failed", extra={"agent": agent, "problem": error.message})
                    self._pending.add(agent)

    async def _read(self, agent: AgentId) -> None:
        worker = self._workers.get(agent)
        broker, owner = self._link.broker, self._link.owner
        if worker is None or broker is None or owner is None or not self._link.claimed(agent):
            return
        if agent in self._pending:
            self.newer.pop(agent, None)
            async for page in broker.pending_pages(agent, owner, count=READ):
                for entry in page:
                    await self._take(agent, entry.payload, entry)
            self._pending.discard(agent)
        while True:
            count = min(READ, worker.room)
            if count <= 0:
                self._full.add(agent)
                return  # `release` has it read again when there is room
            failpoint("read.before")
            entries = await broker.read(agent, owner, count=count)
            if entries:
                failpoint("read.after")
            for entry in entries:
                await self._take(agent, entry.payload, entry)
            if len(entries) < count:
                return

    async def _take(self, agent: AgentId, envelope: bytes, place: Entry | None) -> None:
        """Give one message to its worker, unless it is known."""
        worker = self._workers.get(agent)
        if worker is None:
            return
        message = await self._opened(agent, envelope, place)
        if message is None:
            return
        item = worker.find(message.id)
        if item is not None:
            if place is not None and place not in item.entries:
                item.entries.append(place)
            return
        known = self._ledger.find(message.id)
        item = restored(known) if known is not None else Item(message=message, agent=agent, arrival=0)
        item.entries = [place] if place is not None else []
        if known is not None and known.phase is Phase.SETTLED:
            self._answer(message.origin, self._settled_hop(known))
            self.release(item, known.state, known.reason)
        elif known is None and place is not None and place.holder not in ("", self._node):
            why = f"node {place.holder}, which had the agent before, may have typed it"
            await self._settle(item, State.UNCONFIRMED, why)
        elif known is None and self._forgotten(message):
            await self._settle(item, State.UNCONFIRMED, "it is older than what this node remembers")
        elif known is None and place is not None and (why := self._unfit(message, agent)):
            await self._settle(item, State.FAILED, why)
        else:
            if known is None and message.kind is Kind.REPLY:
                await self._arrived(item)
                if (worker := self._hand(agent, item)) is None:
                    return
            worker.put(item)

    async def _opened(self, agent: AgentId, envelope: bytes, place: Entry | None) -> Message | None:
        """Return a message that can be read and, if it was in the broker, is sealed; else None.

        One that is newer than this node's version stays pending: the upgraded node reads it. Any other is buried.
        """
        if place is None:  # from this node's own outbox: it was in nobody else's hands
            return decode_message(envelope)
        unproven: Message | None = None
        try:
            return self._seals.opened(envelope, agent)
        except MessageNewer as error:
            log.warning("inbox.newer", extra={"agent": agent, "problem": error.message})
            self.newer.setdefault(agent, set()).add(place.message_id)
            return None
        except InvalidRequest as error:
            why = error.message
            log.warning("inbox.unreadable", extra={"agent": agent, "problem": why})
        except Unproven as error:
            why, unproven = error.reason, error.message
        broker, owner = self._link.broker, self._link.owner
        if broker is not None and owner is not None:
            if not is_ulid(place.message_id):  # its own name, so that two of one foreign name are two letters
                place = replace(place, message_id=f"entry {place.entry_id}")
            await broker.bury(agent, owner, place, state=State.DEAD.value, reason=why)
            if unproven is not None:
                self._rejected(unproven, envelope, why)
        return None

    def _hand(self, agent: AgentId, item: Item) -> Hand | None:
        """Return who takes `item`; None when meanwhile somebody did, or nobody is there any more."""
        worker = self._workers.get(agent)
        taken = worker.find(item.message.id) if worker is not None else None
        if taken is not None:
            taken.entries += [place for place in item.entries if place not in taken.entries]
            return None
        known = self._ledger.find(item.message.id)
        return None if known is not None and known.phase is not Phase.RECEIVED else worker

    def verdict(self, message: MessageId) -> Hop | None:
        """Return the receipt of a message that is settled here, whoever sent it first; else None."""
        known = self._ledger.find(message)
        return self._settled_hop(known) if known is not None and known.phase is Phase.SETTLED else None

    def _settled_hop(self, known: LedgerEntry) -> Hop:
        return known.verdict(self._node, self._clock_ms())

    async def drain(self, agent: AgentId, why: str) -> int:
        """Fail what waits in the mailbox of an agent that is unregistered; return how many messages.

        What was typed before keeps its verdict. Stops where the broker does not answer.
        """
        broker, owner = self._link.broker, self._link.owner
        failed = 0
        if broker is None or owner is None:
            return failed
        try:
            while entries := await broker.read(agent, owner, count=READ):
                for entry in entries:
                    failed += await self._fail_entry(agent, entry, why)
        except (BrokerUnavailable, NotOwner, MailboxLost) as error:
            log.warning("inbox.not_drained", extra={"agent": agent, "problem": error.message})
        return failed

    async def fail(self, agent: AgentId, message: Message, why: str) -> None:
        """Settle a message that is in nobody's hand and was never typed; a repeat of it is known from now on."""
        await self._settle(Item(message=message, agent=agent, arrival=0), State.FAILED, why)

    async def _fail_entry(self, agent: AgentId, entry: Entry, why: str) -> int:
        try:
            message = self._seals.opened(entry.payload, agent)
        except (InvalidRequest, Unproven):
            return 0
        known = self._ledger.find(message.id)
        if known is not None:
            if known.phase is Phase.SETTLED:
                self._answer(message.origin, self._settled_hop(known))
            return 0
        await self.fail(agent, message, why)
        return 1

    # -- out --

    def release(self, item: Item, state: State, reason: str) -> None:
        """Let the mailbox forget a message that is settled (or proven): the ledger knows it now."""
        if item.entries:
            self._letting_go.put_nowait((item, state, reason))
        worker = self._workers.get(item.agent)
        if item.agent in self._full and worker is not None and worker.room >= READ // 2:
            self._full.discard(item.agent)
            self._unread.add(item.agent)
            self._news.set()

    async def run_letting_go(self) -> None:
        """Acknowledge or bury settled messages in the broker. What fails is read again later and answered."""
        while True:
            batch = [await idle(self._letting_go.get)]
            while not self._letting_go.empty() and len(batch) < 128:
                batch.append(self._letting_go.get_nowait())
            broker, owner = self._link.broker, self._link.owner
            if broker is None or owner is None:
                continue
            failpoint("ack.before")
            settled: dict[AgentId, list[tuple[Item, State, str]]] = {}
            for one in batch:
                settled.setdefault(one[0].agent, []).append(one)
            each = [self._let_go(broker, owner, agent, theirs) for agent, theirs in settled.items()]
            await (each[0] if len(each) == 1 else asyncio.gather(*each))  # mostly one
            failpoint("ack.after")

    async def _let_go(
        self, broker: Broker, owner: Owner, agent: AgentId, settled: list[tuple[Item, State, str]]
    ) -> None:
        """Let one mailbox forget what is settled. What it refuses keeps nothing in another one."""
        acks: list[tuple[Lane, str]] = []
        try:
            for item, state, reason in settled:
                places, item.entries = item.entries, []
                if state in UNDELIVERED and places:
                    await broker.bury(agent, owner, places.pop(), state=state.value, reason=reason)
                acks += [(place.lane, place.entry_id) for place in places]
            await broker.ack(agent, owner, acks)
        except KeyUnfit:
            self._pending.add(agent)
            self._link.unfit([agent])
        except BrokerUnavailable as error:
            self._link.failed(error)
        except (NotOwner, MailboxLost):
            log.warning("inbox.let_go_refused", extra={"agent": agent, "messages": len(settled)})
