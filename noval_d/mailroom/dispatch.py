"""Send what the outbox accepted: into mailboxes, or, while the broker is down, straight to local agents."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping

from nova_torch.broker import Broker, Enqueue, Enqueued, Lane
from nova_torch.codec import decode_hop, encode_hop
from nova_torch.errors import BrokerUnavailable, InvalidRequest, NotOwner, StoreFailed
from nova_torch.values import AgentId, HoldReason, Hop, MessageId, NodeId, State
from noval_d.delivery.item import Item
from noval_d.mailroom.inbox import Inbox
from noval_d.mailroom.outbox import Outbox, Outgoing
from noval_d.node.link import BrokerLink
from noval_d.talk.pigeonhole import Hand

log = logging.getLogger("nova.outbox")

BATCH = 128
TICK_S = 1.0
SILENT_S = 60.0  # a message without any receipt for this long is sent again
LOST_MS = 600_000  # how long after its time to live the owner of a message may still tell of it


class Dispatch:
    """Moves accepted messages on, in the order they were accepted, and receipts back."""

    def __init__(
        self,
        *,
        node: NodeId,
        outbox: Outbox,
        inbox: Inbox,
        link: BrokerLink,
        workers: Mapping[AgentId, Hand],
        clock_ms: Callable[[], int],
        mailbox_limit: int,
    ) -> None:
        self._node = node
        self._outbox = outbox
        self._inbox = inbox
        self._link = link
        self._workers = workers
        self._clock_ms = clock_ms
        self._limit = mailbox_limit
        self._expired_to = 0
        self._receipts: asyncio.Queue[tuple[NodeId, Hop]] = asyncio.Queue()
        self._own_receipts: asyncio.Queue[Hop] = asyncio.Queue()

    @property
    def mode(self) -> str:
        """`normal`, or `fallback` while the broker is down and only local agents are reached."""
        return "normal" if self._link.broker is not None else "fallback"

    async def run(self) -> None:
        """Send until cancelled."""
        expire_ms = 0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._outbox.grew.wait()
            self._outbox.grew.clear()
            try:
                if abs(self._clock_ms() - expire_ms) >= TICK_S * 1000:
                    expire_ms = self._clock_ms()
                    await self._expire()
                await self._round()
            except BrokerUnavailable as error:
                self._link.failed(error)
                await asyncio.sleep(0.05)
                self._outbox.grew.set()
            except StoreFailed as error:
                log.warning("outbox.store_failed", extra={"problem": error.message})
                await asyncio.sleep(TICK_S)

    async def _round(self) -> None:
        broker = self._link.broker
        if broker is None:
            await self._straight()
            return
        stuck: set[AgentId] = set()  # theirs waits for its owner, in order; the next tick tries again
        while batch := self._outbox.unsent(BATCH, skip=stuck):
            stuck |= await self._send(broker, batch)
        silent = self._outbox.silent(self._clock_ms() - int(SILENT_S * 1000), BATCH)
        if silent:
            await self._ask_again(broker, [out for out in silent if self._in_hand(out) is None])
            await self._outbox.asked_again(out.message.id for out in silent)

    def _in_hand(self, outgoing: Outgoing) -> Item | None:
        worker = self._workers.get(outgoing.agent)
        return worker.find(outgoing.message.id) if worker is not None else None

    async def _send(self, broker: Broker, batch: list[Outgoing]) -> set[AgentId]:
        """Move messages on into mailboxes; return the agents that take none now."""
        hops: list[Hop] = []
        outside: list[Outgoing] = []
        for out in batch:
            item = self._in_hand(out)
            known = self._inbox.verdict(out.message.id) if out.agent in self._workers else None
            if known is not None:  # it came another way as well, with the same id
                hops.append(known)
            elif item is None:
                outside.append(out)
            else:  # given straight, or read before the broker lost it: its mailbox has no say any more
                state, reason = item.told
                hops.append(self._hop(out, State(state or State.QUEUED), reason))
        stuck: set[AgentId] = set()
        lost: set[AgentId] = set()
        unowned: list[MessageId] = []
        for out, answer in zip(outside, await self._enqueue(broker, outside), strict=True):
            if not answer.error:
                hops.append(self._hop(out, State.QUEUED, "", node=NodeId(answer.owner_node or "")))
            elif answer.error == "full" and not self._outbox.handed_on(out.message.id):
                why = f"the mailbox of {out.agent} is full ({self._limit} messages)"
                hops.append(self._hop(out, State.FAILED, why, final=True))
            else:
                stuck.add(out.agent)
                if answer.error != "full":
                    lost.add(out.agent)
                    if not out.reason:
                        unowned.append(out.message.id)
        for agent in lost & self._workers.keys():
            self._link.claim_again(agent)
        # a receipt of the owner may be faster than this note: it must not be overwritten
        await self._outbox.advance(hops)
        if unowned:
            await self._outbox.note(unowned, HoldReason.NO_AGENT.value)
        return stuck

    async def _ask_again(self, broker: Broker, lost: list[Outgoing]) -> None:
        """Send messages again of which nothing was heard: their owner takes them, or tells what became of them.

        Whatever the mailbox answers is no verdict: they may have been typed long ago.
        """
        answers = await self._enqueue(broker, lost)
        pairs = zip(lost, answers, strict=True)
        unowned = {out.message.id for out, answer in pairs if answer.error and answer.error != "full"}
        queued = [o.message.id for o in lost if o.message.id in unowned and o.state is State.QUEUED]
        if queued:  # no node has the mailbox: they are sent as soon as one does
            await self._outbox.resend(queued)

    async def _enqueue(self, broker: Broker, batch: list[Outgoing]) -> list[Enqueued]:
        return await broker.enqueue(
            [
                Enqueue(
                    agent=out.agent,
                    message_id=out.message.id,
                    lane=Lane.of(out.message.priority),
                    payload=out.envelope,
                    limit=self._limit,
                )
                for out in batch
            ]
        )

    async def _straight(self) -> None:
        """Give messages for local agents to their workers, in order, as far as they have room."""
        room = {agent: worker.room for agent, worker in self._workers.items() if worker.room > 0}
        for seq, message, agent in self._outbox.near(room):
            worker = self._workers.get(agent)
            if worker is None or room[agent] <= 0 or worker.find(message) is not None:
                continue
            out = self._outbox.at(seq)
            if out is not None:
                room[agent] -= 1
                await self._inbox.deliver(out)

    async def fail_all(self, agent: AgentId, why: str) -> int:
        """Fail what waits here for an agent that is unregistered and was handed to no other node."""
        failed = 0
        while batch := self._outbox.of(agent, BATCH):
            for out in batch:
                await self._inbox.fail(agent, out.message, why)
            failed += len(batch)
        return failed

    async def _expire(self) -> None:
        """Look at the next of the messages that wait here; those whose time ran out are final."""
        now = self._clock_ms()
        waiting = self._outbox.unsent(BATCH, after=self._expired_to)
        self._expired_to = waiting[-1].seq if len(waiting) == BATCH else 0
        late: list[Hop] = []
        for out in waiting:
            expires_ms = out.message.expires_ms
            if expires_ms is None or now < expires_ms or self._in_hand(out) is not None:
                continue
            if not self._outbox.handed_on(out.message.id):
                late.append(
                    self._hop(out, State.EXPIRED, "its time to live ran out in the outbox", final=True)
                )
            elif now >= expires_ms + LOST_MS:
                why = "its time to live ran out, and no node tells what became of it"
                late.append(self._hop(out, State.UNCONFIRMED, why, final=True))
        if late:
            await self._outbox.apply(late)

    def _hop(
        self, out: Outgoing, state: State, reason: str, *, final: bool = False, node: NodeId | None = None
    ) -> Hop:
        return Hop(
            message=out.message.id,
            at_ms=self._clock_ms(),
            node=node or self._node,
            state=state,
            reason=reason,
            final=final,
        )

    # -- receipts between nodes --

    def post(self, node: NodeId, hop: Hop) -> None:
        """Send a receipt to the node of a sender."""
        if node == self._node:
            self._own_receipts.put_nowait(hop)
        else:
            self._receipts.put_nowait((node, hop))

    async def run_own(self) -> None:
        """Take receipts for this node's own messages until cancelled."""
        while True:
            hop = await self._own_receipts.get()
            try:
                await self._outbox.apply([hop])
            except StoreFailed as error:  # asked for again like one that was lost on its way
                log.warning("outbox.store_failed", extra={"problem": error.message})

    async def run_post(self) -> None:
        """Send receipts until cancelled. One that is lost is asked for again by the sender's resend."""
        while True:
            node, hop = await self._receipts.get()
            while True:
                try:
                    broker = await self._link.wait_up()
                    await broker.post(node, [encode_hop(hop)])
                    break
                except BrokerUnavailable as error:
                    self._link.failed(error)
                    await asyncio.sleep(0.05)

    async def run_mail(self) -> None:
        """Read receipts of other nodes until cancelled."""
        while True:
            try:
                broker = await self._link.wait_up()
                mail = await self._link.while_up(broker.mail(self._node, block_s=2.0))
                if not mail:
                    continue
                hops = [_read(piece.payload) for piece in mail]
                await self._outbox.apply([hop for hop in hops if hop is not None])
                owner = self._link.owner
                if owner is not None:
                    await broker.mail_done(self._node, owner.epoch, [piece.entry_id for piece in mail])
            except NotOwner:
                self._link.beat_soon()  # another daemon bears this node's name: the beat says so
                await asyncio.sleep(TICK_S)
            except StoreFailed as error:  # it stays in the mail until it can be written
                log.warning("outbox.store_failed", extra={"problem": error.message})
                await asyncio.sleep(TICK_S)
            except BrokerUnavailable as error:
                self._link.failed(error)


def _read(raw: bytes) -> Hop | None:
    try:
        return decode_hop(raw)
    except InvalidRequest as error:
        log.warning("outbox.unreadable_receipt", extra={"problem": error.message})
        return None
