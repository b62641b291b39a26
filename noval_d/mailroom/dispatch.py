"""Send what the outbox accepted: into mailboxes, or, while the broker is down, straight to local agents."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from nova_torch.broker import Broker, Enqueue, Lane
from nova_torch.codec import decode_hop, encode_hop
from nova_torch.errors import BrokerUnavailable, InvalidRequest, NotOwner, StoreFailed
from nova_torch.values import AgentId, Hop, MessageId, NodeId, Priority, State
from noval_d.delivery.worker import Worker
from noval_d.mailroom.inbox import Inbox
from noval_d.mailroom.outbox import Outbox, Outgoing
from noval_d.node.link import BrokerLink

log = logging.getLogger("nova.outbox")

BATCH = 128
TICK_S = 1.0
SILENT_S = 60.0  # a queued message without any receipt for this long is sent again
LOCAL_BATCH = 256


class Dispatch:
    """Moves accepted messages on, in the order they were accepted, and receipts back."""

    def __init__(
        self,
        *,
        node: NodeId,
        outbox: Outbox,
        inbox: Inbox,
        link: BrokerLink,
        workers: Mapping[AgentId, Worker],
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
        self._given: set[MessageId] = set()
        self._receipts: asyncio.Queue[tuple[NodeId, Hop]] = asyncio.Queue()

    @property
    def mode(self) -> str:
        """`normal`, or `fallback` while the broker is down and only local agents are reached."""
        return "normal" if self._link.broker is not None else "fallback"

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            try:
                async with asyncio.timeout(TICK_S):
                    await self._outbox.grew.wait()
            except TimeoutError:
                await self._expire()
            self._outbox.grew.clear()
            try:
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
        self._given.clear()
        while batch := self._outbox.unsent(BATCH):
            moved = await self._enqueue(broker, batch)
            if moved < len(batch):
                return  # the rest waits for its owner; the next tick tries again
        silent = self._outbox.silent(self._clock_ms() - int(SILENT_S * 1000), BATCH)
        lost = [out.message.id for out in silent if not self._in_hand(out)]
        if lost:
            await self._outbox.resend(lost)

    def _in_hand(self, outgoing: Outgoing) -> bool:
        worker = self._workers.get(outgoing.agent)
        return worker is not None and worker.find(outgoing.message.id) is not None

    async def _enqueue(self, broker: Broker, batch: list[Outgoing]) -> int:
        answers = await broker.enqueue(
            [
                Enqueue(
                    agent=out.agent,
                    message_id=out.message.id,
                    lane=Lane.HI if out.message.priority.rank <= Priority.HIGH.rank else Lane.MBX,
                    payload=out.envelope,
                    limit=self._limit,
                )
                for out in batch
            ]
        )
        hops: list[Hop] = []
        for out, answer in zip(batch, answers, strict=True):
            if answer.error == "full":
                why = f"the mailbox of {out.agent} is full ({self._limit} messages)"
                hops.append(self._hop(out, State.FAILED, why, final=True))
            elif answer.error:
                if out.agent in self._workers:
                    self._link.claim_again(out.agent)
            else:
                hops.append(self._hop(out, State.QUEUED, "", node=NodeId(answer.owner_node or "")))
        # a receipt of the owner may be faster than this note: it must not be overwritten
        await self._outbox.advance(hops)
        return len(hops)

    async def _straight(self) -> None:
        """Give messages for local agents to their workers, in order, as far as they have room."""
        room = {agent: worker.room for agent, worker in self._workers.items()}
        for out in self._outbox.open([agent for agent, free in room.items() if free > 0], LOCAL_BATCH):
            if out.message.id in self._given or room[out.agent] <= 0:
                continue
            room[out.agent] -= 1
            self._given.add(out.message.id)
            await self._inbox.deliver(out)

    async def _expire(self) -> None:
        now = self._clock_ms()
        late = [
            self._hop(out, State.EXPIRED, "its time to live ran out in the outbox", final=True)
            for out in self._outbox.unsent(BATCH)
            if out.message.expires_ms is not None and now >= out.message.expires_ms
        ]
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
        self._receipts.put_nowait((node, hop))

    async def run_post(self) -> None:
        """Send receipts until cancelled. One that is lost is asked for again by the sender's resend."""
        while True:
            node, hop = await self._receipts.get()
            if node == self._node:
                await self._outbox.apply([hop])
                continue
            try:
                broker = await self._link.wait_up()
                await broker.post(node, [encode_hop(hop)])
            except BrokerUnavailable as error:
                self._link.failed(error)

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
            except BrokerUnavailable as error:
                self._link.failed(error)


def _read(raw: bytes) -> Hop | None:
    try:
        return decode_hop(raw)
    except InvalidRequest as error:
        log.warning("outbox.unreadable_receipt", extra={"problem": error.message})
        return None
