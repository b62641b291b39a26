"""The fleet without a daemon: straight into the mailboxes of the broker; receipts and answers come back there.

There is no outbox here. A message is `queued` once the broker has it in the agent's mailbox, and nothing is said
before that; what the broker loses is sent again only while its sender follows it. Where receipts and answers come
back to follows from the message's id, so another process that knows the id finds them too. All of it goes by
itself: receipts after a week, answers after a day.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from nova_torch.again import Again
from nova_torch.blobs import Reader
from nova_torch.broker import Broker, Enqueue, Lane
from nova_torch.codec import decode_signed, encode_hop, encode_message
from nova_torch.communication.daemon_box import only_a_daemon
from nova_torch.communication.direct import (
    Endpoint,
    Losses,
    Mailbag,
    applied,
    first_receipt,
    no_answer,
    no_receipt,
    own_hop,
    was_asked,
)
from nova_torch.communication.fleet_calls import FleetCalls
from nova_torch.communication.group import ONE
from nova_torch.communication.keyless import Keyless
from nova_torch.communication.postbox import is_over
from nova_torch.errors import AgentNotFound, BrokerUnavailable, InvalidRequest, MailboxFull, MailboxLost
from nova_torch.fleet import NodeView, Presence, presence
from nova_torch.login import Login
from nova_torch.nearest import suggestion
from nova_torch.people import person_of
from nova_torch.recent import Recent
from nova_torch.registry import Query, find
from nova_torch.signing import Keyring
from nova_torch.values import (
    AGENT_ID,
    AgentId,
    AgentRecord,
    Hop,
    Message,
    MessageId,
    NodeId,
    Receipt,
    Reply,
    State,
)

T = TypeVar("T")

ANSWERS_KEPT_S = 24 * 3600
BLOCK_S = 2.0
KEPT = 1000  # messages of which this process knows more than the broker does
BUSY_BLOCK_S = 0.05
READERS = 6  # of the 8 connections for blocking reads
RETRY_S = (0.1, 0.3, 1.0)


@dataclass(frozen=True, slots=True)
class _Posted:
    receipt: Receipt
    item: Enqueue
    again: Again


class BrokerBox:
    """Sends through one broker. Make it with `connect`; raises BrokerUnavailable when it does not answer."""

    durable = False

    def __init__(
        self,
        broker: Broker,
        *,
        mailbox_limit: int,
        clock_ms: Callable[[], int],
        gone_s: float,
        keyring: Keyring | None = None,
        strict: bool = False,
    ) -> None:
        self._broker = broker
        self._keyring = keyring or Keyring()
        self._strict = strict
        self._limit = mailbox_limit
        self._clock_ms = clock_ms
        self._gone_s = gone_s
        self._posted: Recent[_Posted] = Recent(KEPT)
        self._bags: Recent[Mailbag] = Recent(KEPT)
        self._told: Recent[None] = Recent(KEPT)
        self._readers = asyncio.Semaphore(READERS)
        self._reader = Reader()
        self._waiting = 0
        self._losses = Losses(broker)
        self._keyless = Keyless(self._keyring, self.views, self._now)
        self.fleet = FleetCalls(
            broker, self.views, keyring=self._keyring, strict=strict, clock_ms=clock_ms, gone_s=gone_s
        )

    def __repr__(self) -> str:
        return f"<BrokerBox {self._broker.url_shown} posted={len(self._posted)}>"

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        prefix: str,
        login: Login,
        mailbox_limit: int,
        clock_ms: Callable[[], int],
        gone_s: float,
        keyring: Keyring | None = None,
        strict: bool = False,
    ) -> BrokerBox:
        """Connect to the broker at `url`. Raises BrokerUnavailable, ConfigInvalid.

        What is sent is signed with the first key; `strict`: receipts and answers that are not signed are not taken.
        """
        broker = await Broker.connect(url, prefix=prefix, login=login)
        return cls(
            broker,
            mailbox_limit=mailbox_limit,
            clock_ms=clock_ms,
            gone_s=gone_s,
            keyring=keyring,
            strict=strict,
        )

    @property
    def url_shown(self) -> str:
        """The broker's URL without secrets."""
        return self._broker.url_shown

    @property
    def broker(self) -> Broker:
        """The broker itself."""
        return self._broker

    async def close(self) -> None:
        """End every connection."""
        await self.fleet.close()
        await self._broker.close()

    # -- Postbox --

    async def post(self, message: Message) -> Receipt:
        """Put the message into its agent's mailbox; the receipt says `queued`, since it is.

        Raises AgentNotFound with the nearest name, MailboxFull, BrokerUnavailable, and InvalidRequest for a
        target that only a daemon can find.
        """
        if ONE in message.headers:
            raise only_a_daemon("a daemon chooses who of a group gets a message")
        if not AGENT_ID.match(message.target):
            raise InvalidRequest(
                f"{message.target!r} is no agent's name; a pane is found by its node's daemon only.",
                "Name an agent, or start the daemon here: novactl up",
            )
        place = Endpoint.of(message.id)
        if message.wants_answer:
            await self._broker.claim_for(place.box, place.owner, seconds=ANSWERS_KEPT_S)
        sent = replace(
            message,
            sender=message.sender or person_of(os.getuid()),
            headers={**message.headers, **place.headers(message.target, answers_s=ANSWERS_KEPT_S)},
        )
        item = Enqueue(
            agent=message.target,
            message_id=message.id,
            lane=Lane.of(message.priority),
            payload=encode_message(sent, self._keyring.sign_message(sent)),
            limit=self._limit,
        )
        await self._keyless.demand(AgentId(item.agent))
        losses = await self._losses.look(self._now())  # whatever the broker loses from now on
        (answer,) = await self._broker.enqueue([item])
        if answer.error == "no_agent":
            raise await self._unknown(message.target)
        if answer.error:
            raise MailboxFull(
                f"the mailbox of {message.target} is full ({self._limit} messages).", "Send it again later."
            )
        receipt = first_receipt(sent, NodeId(answer.owner_node or ""), now_ms=self._clock_ms())
        known = self._posted.get(message.id)
        if known is None:
            again = Again(self._now(), twin=answer.duplicate, losses=losses)
            self._posted[message.id] = _Posted(receipt, item, again)
            hop = own_hop(message.id, place.node, self._clock_ms())
            await self._broker.post(
                place.node, [encode_hop(hop, self._keyring.sign_receipt(hop, place.node))]
            )
        return receipt

    async def follow(self, message_id: str, *, replied: bool = False) -> AsyncIterator[Receipt]:
        """Follow a message by the receipts that come back; what stays silent is put into its mailbox again."""
        bag = self._bag(message_id)
        posted = self._posted.get(message_id)
        receipt = posted.receipt if posted is not None else None
        told: Receipt | None = None
        seen = count = 0
        self._waiting += 1
        try:
            hops = await self._patient(message_id, lambda: self._more(bag, seen, 0.001))
            while True:
                seen += len(hops)
                for hop in hops:
                    if hop.message == message_id and (means := self._heard(hop, receipt, posted)) is not None:
                        receipt = applied(receipt, means)
                        count += 1
                if receipt is None:
                    raise no_receipt(message_id)
                if replied and receipt.state is not State.REPLIED:
                    receipt = await self._with_answer(receipt)
                if receipt != told:
                    told = receipt
                    yield receipt
                if is_over(receipt, replied=replied):
                    return
                if posted is not None and not receipt.delivered:
                    posted.again.heard(self._now(), count)
                    losses = await self._patient(message_id, lambda: self._losses.look(self._now()))
                    if posted.again.due(self._now(), losses):
                        enqueue = partial(self._broker.enqueue, [posted.item])
                        (put,) = await self._patient(message_id, enqueue)
                        posted.again.done(self._now(), losses, well=not put.error)
                hops = await self._wait(receipt, bag, seen, replied=replied)
        finally:
            self._waiting -= 1

    async def answer(self, message_id: str) -> Reply:
        """Return the answer to a message that was sent without a daemon. Raises MessageNotFound."""
        found = await self._answer_in(message_id)
        if found is None:
            raise no_answer(message_id)
        return found

    async def reply(
        self, question_id: str, body: str | bytes, *, message_id: str | None, sender: str, priority: str
    ) -> Receipt:
        """Have the node that received a question take the answer over: only that one knows who may give it."""
        return await self.fleet.reply(
            question_id, body, message_id=message_id, sender=sender, priority=priority
        )

    async def answered(self, questions: Sequence[str]) -> list[str]:
        """Return those of `questions` in whose box something lies. One round trip."""
        boxes = {Endpoint.of(question).box: question for question in questions}
        lengths = await self._broker.backlog(list(boxes))
        return [boxes[AgentId(box)] for box, length in lengths.items() if length]

    # -- the fleet --

    async def views(self) -> list[NodeView]:
        """Return every node that beat within a day, as it last told of itself."""
        views = self._reader.views(await self._broker.nodes())
        return [view for view in views if view.node not in self._reader.unreadable]

    async def find(self, query: Query) -> list[AgentRecord]:
        """Return the agents that match; those of a node whose lease is over are `lost`."""
        return list(find(await self.views(), query))

    async def presence(self, name: str) -> Presence:
        """Return what the registry knows of an agent or of a node."""
        return presence(name, await self.views())

    async def trace(self, message_id: str) -> dict[str, Any]:
        """Return the receipts that came back for a message sent without a daemon."""
        hops = [hop for hop in await self._more(self._bag(message_id), 0, 0.001) if hop.message == message_id]
        posted = self._posted.get(message_id)
        receipt = posted.receipt if posted is not None else None
        meant_hops: list[Hop] = []
        for hop in hops:
            if (means := self._heard(hop, receipt, posted)) is not None:
                receipt = applied(receipt, means)
                meant_hops.append(means)
        if receipt is None:
            raise no_receipt(message_id)
        rows = [
            {"at_ms": hop.at_ms, "node": hop.node, "state": hop.state.value, "reason": hop.reason}
            for hop in meant_hops
        ]
        return {**receipt.to_json(), "hops": rows}

    # -- inside --

    def _heard(self, hop: Hop, receipt: Receipt | None, posted: _Posted | None) -> Hop | None:
        return self._keyless.heard(hop, receipt, posted.item.payload if posted is not None else None)

    def _bag(self, message_id: str) -> Mailbag:
        node = Endpoint.of(message_id).node
        if node not in self._bags:
            self._bags[node] = Mailbag(node, self._keyring if self._strict else None)
        return self._bags[node]

    async def _more(self, bag: Mailbag, seen: int, wait_s: float) -> list[Hop]:
        """Return the receipts behind the first `seen` of a place."""
        return await bag.more(self._broker, seen, wait_s, self._readers)

    async def _wait(self, receipt: Receipt, bag: Mailbag, seen: int, *, replied: bool) -> list[Hop]:
        """Wait for news a while: of the delivery, then for the bell of the answer."""
        wait_s = BLOCK_S if self._waiting <= READERS else BUSY_BLOCK_S
        if not replied or not receipt.delivered:
            return await self._patient(receipt.id, lambda: self._more(bag, seen, wait_s))
        async with self._readers:
            await self._patient(receipt.id, lambda: self._broker.bells(bag.node, block_s=wait_s))
        return await self._patient(receipt.id, lambda: self._more(bag, seen, 0.001))

    async def _with_answer(self, receipt: Receipt) -> Receipt:
        found = await self._patient(receipt.id, lambda: self._answer_in(receipt.id))
        if found is None:
            return receipt
        return replace(receipt, state=State.REPLIED, reason=found.id, final=True)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    async def _patient(self, message_id: str, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the broker; while it is away ask again, up to `gone_s`."""
        until = self._now() + self._gone_s
        tries = 0
        while True:
            try:
                return await ask()
            except BrokerUnavailable as error:
                if self._now() > until:
                    raise BrokerUnavailable(
                        f"{error.message} Message {message_id} was put into its mailbox;"
                        " what became of it is not known.",
                        "Send it again with the same message_id: it is typed once.",
                    ) from None
                await asyncio.sleep(RETRY_S[min(tries, len(RETRY_S) - 1)])
                tries += 1

    async def _answer_in(self, message_id: str) -> Reply | None:
        """Return the answer that lies in the message's own box, and tell its sender's node that it was taken."""
        place = Endpoint.of(message_id)
        try:
            await self._broker.claim_for(place.box, place.owner, seconds=ANSWERS_KEPT_S)
            await self._broker.read(place.box, place.owner, count=64)  # from now on pending, and kept so
            pages = [page async for page in self._broker.pending_pages(place.box, place.owner)]
        except MailboxLost:
            return None
        for entry in (entry for page in pages for entry in page):
            try:
                message, signature = decode_signed(entry.payload)
            except InvalidRequest:
                continue
            if self._strict and self._keyring.check_message(message, signature, place.box):
                continue
            if not was_asked(message, message_id, self._target_of(message_id)):
                continue
            await self._taken(message)
            return Reply(
                id=message.id,
                question=MessageId(message_id),
                sender=message.sender,
                body=message.body,
                created_ms=message.created_ms,
            )
        return None

    def _target_of(self, message_id: str) -> str | None:
        posted = self._posted.get(message_id)
        return posted.item.agent if posted is not None else None

    async def _taken(self, answer: Message) -> None:
        """Send the receipt of an answer, once a process: its sender's outbox waits for it."""
        if answer.id in self._told or not AGENT_ID.match(answer.origin):
            return
        hop = Hop(
            message=answer.id,
            at_ms=self._clock_ms(),
            node=Endpoint.of(answer.reply_to).node,
            state=State.ACKNOWLEDGED,
            reason="taken by the program that asked",
            final=True,
        )
        signature = self._keyring.sign_receipt(hop, answer.origin)
        await self._broker.post(answer.origin, [encode_hop(hop, signature)])
        self._told[answer.id] = None

    async def _unknown(self, target: str) -> AgentNotFound | MailboxLost:
        views = await self.views()
        known = {record.agent_id for view in views for record in view.agents}
        if target in known:
            return MailboxLost(
                f"agent {target} is registered, and its node has not claimed its mailbox yet.",
                "Send it again in a moment.",
            )
        listed = "See them all: python -m nova_torch.orchestration.agent_registry --list"
        cure = suggestion(target, known, otherwise=listed)
        return AgentNotFound(f"no agent {target!r} is registered.", cure)
