"""Receipts between nodes: what became of a message goes back to the node that sent it, and into its outbox there.

A receipt that is lost on its way is asked for again: the sender sends its message once more, and whoever knows it
answers with what it knows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from nova_torch.broker import Broker, Mail
from nova_torch.broker.connection import MAX_BLOCK_S
from nova_torch.errors import BrokerUnavailable, InvalidRequest, KeyUnfit, NotOwner, StoreFailed
from nova_torch.values import Hop, NodeId
from noval_d.failpoints import failpoint
from noval_d.mailroom.outbox import PASSING, Outbox
from noval_d.mailroom.seals import Seals, Unproven
from noval_d.mailroom.store import Store
from noval_d.node.link import BrokerLink
from noval_d.node.pulse import at_most, idle

log = logging.getLogger("nova.outbox")

BATCH = 128
TAKEN = 256
"""So many receipts at most are written down and not made durable."""
FIRST = "0-0"
AGAIN_S = 1.0
LINGER_S = 0.25
"""How long a state that passes by itself waits for the next one: with it goes one write, one read and one commit.

What is typed is submitted within 0.2 to 0.6 s. `submitted` and whatever is final, for which somebody may wait, goes
at once.
"""


class Receipts:
    """Sends receipts of what came from other nodes, and takes those for what was sent from this one.

    `heard` is told of each, and says what of it is written down, if anything.
    """

    def __init__(
        self,
        *,
        node: NodeId,
        store: Store,
        outbox: Outbox,
        link: BrokerLink,
        seals: Seals,
        heard: Callable[[Hop], Hop | None],
    ) -> None:
        self._node = node
        self._store = store
        self._outbox = outbox
        self._link = link
        self._seals = seals
        self._heard = heard
        self._waiting: dict[NodeId, list[Hop]] = {}
        self._due: set[NodeId] = set()
        self._ripe = asyncio.Event()
        self._own: asyncio.Queue[Hop] = asyncio.Queue()
        self._taken: dict[str, int] = {}
        """Mail that is written down and still there, and when that is durable."""

    def __repr__(self) -> str:
        return f"<Receipts of {self._node} waiting={sum(map(len, self._waiting.values()))}>"

    def post(self, node: NodeId, hop: Hop) -> None:
        """Send a receipt to the node of a sender."""
        if node == self._node:
            self._own.put_nowait(hop)
            return
        first = node not in self._waiting
        self._waiting.setdefault(node, []).append(hop)
        if hop.final or hop.state not in PASSING:
            self._ripen(node)
        elif first:
            asyncio.get_running_loop().call_later(LINGER_S, self._ripen, node)

    def _ripen(self, node: NodeId) -> None:
        if node in self._waiting:
            self._due.add(node)
            self._ripe.set()

    async def run_own(self) -> None:
        """Take receipts for this node's own messages until cancelled."""
        while True:
            hop = await idle(self._own.get)
            try:
                await self._outbox.apply([hop])
            except StoreFailed as error:  # asked for again like one that was lost on its way
                log.warning("outbox.store_failed", extra={"problem": error.message})

    async def run_post(self) -> None:
        """Send receipts until cancelled. One that is lost is asked for again by the sender's resend."""
        while True:
            await idle(self._ripe.wait)
            self._ripe.clear()
            while self._due:
                broker = await self._link.wait_up()
                due, self._due = self._due, set()
                each = [self._send(broker, node) for node in due]
                await (each[0] if len(each) == 1 else asyncio.gather(*each))  # mostly one

    async def _send(self, broker: Broker, node: NodeId) -> None:
        """Send what waits for `node`; what cannot be sent now goes first the next time."""
        waiting = self._waiting.pop(node, [])
        try:
            while waiting:
                failpoint("receipt.before")
                await broker.post(node, [self._seals.receipt(node, hop) for hop in waiting[:BATCH]])
                failpoint("receipt.after")
                waiting = waiting[BATCH:]
        except KeyUnfit as error:  # the sender's node asks again when its mail is one
            self._link.failed(error)
        except BrokerUnavailable as error:
            self._waiting[node] = waiting + self._waiting.get(node, [])
            self._due.add(node)
            self._link.failed(error)
            await asyncio.sleep(0.05)

    async def run_mail(self) -> None:
        """Read receipts of other nodes until cancelled. Each stays in the mail until it is durable here."""
        after = FIRST
        while True:
            try:
                broker, owner = await self._link.wait_up(), self._link.owner
                epoch = owner.epoch if owner is not None else 0
                done = [entry for entry, when in self._taken.items() if when <= self._store.safe]
                mail = await broker.mail(
                    self._node,
                    block_s=at_most(MAX_BLOCK_S),
                    after=after,
                    done=(epoch, done) if done else None,
                )
                if done:
                    failpoint("mail.after")
                for entry in done:
                    del self._taken[entry]
                if not mail:
                    after = FIRST if not self._taken else after
                    await self._store.harden()
                    continue
                await self._take([piece for piece in mail if piece.entry_id not in self._taken])
                after = mail[-1].entry_id
                if len(self._taken) >= TAKEN:
                    await self._store.harden()
            except NotOwner:
                after = FIRST
                self._link.beat_soon()  # another daemon bears this node's name: the beat says so
                await asyncio.sleep(AGAIN_S)
            except StoreFailed as error:  # it stays in the mail until it can be written
                log.warning("outbox.store_failed", extra={"problem": error.message})
                await asyncio.sleep(AGAIN_S)
            except BrokerUnavailable as error:
                after = FIRST
                self._link.failed(error)

    async def _take(self, mail: list[Mail]) -> None:
        hops = [hop for piece in mail if (hop := self._read(piece.payload)) is not None]
        failpoint("outbox.before")
        when = await self._outbox.hear([hop for hop in map(self._heard, hops) if hop is not None])
        failpoint("outbox.after")
        self._taken.update((piece.entry_id, when) for piece in mail)

    def _read(self, raw: bytes) -> Hop | None:
        try:
            return self._seals.opened_receipt(raw)
        except InvalidRequest as error:
            log.warning("outbox.unreadable_receipt", extra={"problem": error.message})
        except Unproven:
            pass  # the one who owes it sends it again when it is asked
        return None
