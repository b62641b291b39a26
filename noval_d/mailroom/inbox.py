"""From the mailboxes into the workers' hands: bells, sweeps, repeats, and letting go of what is settled.

A message may arrive more than once (resent, read again after a crash, straight from the outbox while the broker is
down); the ledger and the workers know it by its id, and it is typed once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from nova_torch.broker import Entry, Lane
from nova_torch.codec import decode_message
from nova_torch.errors import BrokerUnavailable, InvalidRequest, MailboxLost, NotOwner, StoreFailed
from nova_torch.keys import SCHEDULES
from nova_torch.values import UNDELIVERED, AgentId, Hop, Kind, Message, MessageId, NodeId, State
from noval_d.delivery.item import Item
from noval_d.mailroom.ledger import Entry as LedgerEntry
from noval_d.mailroom.ledger import Ledger, Phase
from noval_d.mailroom.outbox import Outgoing
from noval_d.node.link import BrokerLink
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
    whose schedules another node changed.
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
        self._unread: set[AgentId] = set()
        self._pending: set[AgentId] = set()
        self._full: set[AgentId] = set()
        """Agents whose mailboxes hold more than their workers had room for."""
        self._news = asyncio.Event()
        self._letting_go: asyncio.Queue[tuple[Item, State, str]] = asyncio.Queue()

    def __repr__(self) -> str:
        return f"<Inbox unread={len(self._unread)} letting_go={self._letting_go.qsize()}>"

    # -- in --

    def restore(self) -> int:
        """Put every unsettled message of the ledger back into its worker's hands; return how many."""
        restored = 0
        for entry in self._ledger.unsettled():
            worker = self._workers.get(entry.agent)
            if worker is not None and worker.find(entry.message.id) is None:
                worker.put(_item(entry))
                restored += 1
        return restored

    async def deliver(self, outgoing: Outgoing) -> None:
        """Take a message straight from this node's outbox: the broker is down."""
        await self._take(outgoing.agent, outgoing.envelope, None)

    def recheck(self, *, pending: bool) -> None:
        """Read every mailbox again; with `pending` first what was read before and never acknowledged."""
        self._unread.update(self._workers)
        if pending:
            self._pending.update(self._workers)
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
                bells = await self._link.while_up(broker.bells(self._node, block_s=2.0))
            except BrokerUnavailable as error:
                self._link.failed(error)
                continue
            for agent, _lane in bells:
                if agent.startswith(SCHEDULES):
                    self._schedules(AgentId(agent[len(SCHEDULES) :]))
                else:
                    self._unread.add(AgentId(agent))
            if bells:
                self._news.set()

    async def run_sweep(self) -> None:
        """Look into every mailbox now and then."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self.recheck(pending=False)

    async def run_reader(self) -> None:
        """Read the mailboxes that have something, as far as their workers have room."""
        while True:
            await self._news.wait()
            self._news.clear()
            agents, self._unread = self._unread, set()
            for agent in agents:
                try:
                    await self._read(agent)
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
            async for page in broker.pending_pages(agent, owner, count=READ):
                for entry in page:
                    await self._take(agent, entry.payload, entry)
            self._pending.discard(agent)
        while True:
            count = min(READ, worker.room)
            if count <= 0:
                self._full.add(agent)
                return  # `release` has it read again when there is room
            entries = await broker.read(agent, owner, count=count)
            for entry in entries:
                await self._take(agent, entry.payload, entry)
            if len(entries) < count:
                return

    async def _take(self, agent: AgentId, envelope: bytes, place: Entry | None) -> None:
        """Give one message to its worker, unless it is known."""
        worker = self._workers.get(agent)
        if worker is None:
            return
        try:
            message = decode_message(envelope)
        except InvalidRequest as error:
            log.warning("inbox.unreadable", extra={"agent": agent, "problem": error.message})
            if place is not None:
                await self._bury_unreadable(agent, place, error.message)
            return
        item = worker.find(message.id)
        if item is not None:
            if place is not None and place not in item.entries:
                item.entries.append(place)
            return
        known = self._ledger.find(message.id)
        item = _item(known) if known is not None else Item(message=message, agent=agent, arrival=0)
        item.entries = [place] if place is not None else []
        if known is not None and known.phase is Phase.SETTLED:
            self._answer(message.origin, self._settled_hop(known))
            self.release(item, known.state, known.reason)
        elif known is None and self._forgotten(message):
            await self._settle(item, State.UNCONFIRMED, "it is older than what this node remembers")
        else:
            if known is None and message.kind is Kind.REPLY:
                await self._arrived(item)
                if (worker := self._hand(agent, item)) is None:
                    return
            worker.put(item)

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
        return Hop(
            message=known.message.id,
            at_ms=self._clock_ms(),
            node=self._node,
            state=known.state,
            reason=known.reason,
            final=True,
        )

    async def _bury_unreadable(self, agent: AgentId, place: Entry, why: str) -> None:
        broker, owner = self._link.broker, self._link.owner
        if broker is not None and owner is not None:
            await broker.bury(agent, owner, place, state=State.DEAD.value, reason=why)

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
            message = decode_message(entry.payload)
        except InvalidRequest:
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
            batch = [await self._letting_go.get()]
            while not self._letting_go.empty() and len(batch) < 128:
                batch.append(self._letting_go.get_nowait())
            try:
                await self._let_go(batch)
            except BrokerUnavailable as error:
                self._link.failed(error)
            except (NotOwner, MailboxLost):
                log.warning("inbox.let_go_refused", extra={"messages": len(batch)})

    async def _let_go(self, batch: list[tuple[Item, State, str]]) -> None:
        broker, owner = self._link.broker, self._link.owner
        if broker is None or owner is None:
            return
        acks: dict[AgentId, list[tuple[Lane, str]]] = {}
        for item, state, reason in batch:
            places, item.entries = item.entries, []
            if state in UNDELIVERED and places:
                await broker.bury(item.agent, owner, places.pop(), state=state.value, reason=reason)
            acks.setdefault(item.agent, []).extend((place.lane, place.entry_id) for place in places)
        for agent, entries in acks.items():
            await broker.ack(agent, owner, entries)


def _item(entry: LedgerEntry) -> Item:
    return Item(
        message=entry.message,
        agent=entry.agent,
        arrival=0,
        phase=entry.phase,
        attempt=entry.attempt,
        pane=entry.pane,
        written=True,
    )
