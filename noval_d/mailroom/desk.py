"""Write down what happens to a message and tell its sender: the ledger and the outbox change together.

A message of this node's own outbox gets its hop in the same transaction; one from another node gets it as a
receipt, which `post` sends and the other side's resend asks for again if it is lost.
"""

from __future__ import annotations

from collections.abc import Callable

from nova_torch.codec import encode_message
from nova_torch.values import Hop, Message, NodeId, State
from noval_d.delivery.item import Item
from noval_d.delivery.template import from_machine
from noval_d.mailroom.ledger import Ledger, Phase
from noval_d.mailroom.outbox import Outbox
from noval_d.mailroom.store import Statement, Store
from noval_d.talk.records import Records

Post = Callable[[Message, Hop], None]
"""Send a receipt to the node of the message's sender."""
Release = Callable[[Item, State, str], None]


class Desk:
    """The one place where the fate of a message is written."""

    def __init__(
        self,
        store: Store,
        outbox: Outbox,
        node: NodeId,
        clock_ms: Callable[[], int],
        post: Post,
        release: Release,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._node = node
        self._clock_ms = clock_ms
        self._post = post
        self._release = release

    async def tell(self, item: Item, state: State, reason: str = "") -> None:
        """Tell the sender of a state on the way (held, typed); the same one twice is told once."""
        if item.told == (state.value, reason):
            return
        await self._record(item, state, reason, False)
        item.told = (state.value, reason)

    async def typing(self, item: Item, pane: str) -> None:
        """Make durable that a paste into `pane` may run from now on."""
        now_ms = self._clock_ms()
        note = Ledger.typing(item.message.id, item.attempt, pane, now_ms)
        passed = (Records.passed(item.message, item.agent, now_ms),) if from_machine(item.message) else ()
        await self._store.write(*self._row(item), note, *passed)
        item.phase, item.pane, item.written = Phase.TYPING, pane, True

    async def untyped(self, item: Item) -> None:
        """Note that nothing of it is in the pane: it may be typed (again)."""
        await self._store.write(Ledger.untyped(item.message.id, item.attempt, self._clock_ms()))
        item.phase = Phase.RECEIVED

    async def entered(self, item: Item) -> None:
        """Note the composer's proof of an agent whose hook will tell more; the mailbox may forget the message."""
        note = Ledger.entered(item.message.id, self._clock_ms())
        await self._record(item, State.SUBMITTED, "", False, note)
        item.phase, item.told = Phase.ENTERED, (State.SUBMITTED.value, "")
        self._release(item, State.SUBMITTED, "")

    async def settle(self, item: Item, state: State, reason: str = "") -> None:
        """Write the final verdict, tell the sender, and let the mailbox forget the message."""
        note = Ledger.settled(item.message.id, state, reason, self._clock_ms())
        await self._record(item, state, reason, True, *self._row(item), note)
        item.phase, item.told, item.written = Phase.SETTLED, (state.value, reason), True
        self._release(item, state, reason)

    async def reopen(self, message: Message) -> None:
        """Take a verdict back: somebody ordered the message to be typed again. Its outbox follows the hop."""
        hop = self._hop(message, State.QUEUED, "ordered again", False)
        await self._write(message, hop, (Ledger.reopened(message.id, hop.at_ms),))

    def _row(self, item: Item) -> tuple[Statement, ...]:
        """Return what gives the message its row in the ledger, if it has none yet."""
        if item.written:
            return ()
        now_ms = self._clock_ms()
        row = Ledger.received(item.message, item.agent, encode_message(item.message), now_ms)
        asked = Records.asked(item.message, item.agent, now_ms)
        return (row, asked) if item.message.wants_answer else (row,)

    async def _record(self, item: Item, state: State, reason: str, final: bool, *extra: Statement) -> None:
        message = item.message
        await self._write(message, self._hop(message, state, reason, final), extra)

    def _hop(self, message: Message, state: State, reason: str, final: bool) -> Hop:
        return Hop(
            message=message.id,
            at_ms=self._clock_ms(),
            node=self._node,
            state=state,
            reason=reason,
            final=final,
        )

    async def _write(self, message: Message, hop: Hop, extra: tuple[Statement, ...]) -> None:
        """Write `extra` and tell the sender `hop`: one transaction when both are in this node's file.

        A message from elsewhere may be in this outbox too: a program sent it to the broker while no daemon ran, and
        with the same id again when one did, perhaps at this moment.
        """
        if message.origin == self._node or self._outbox.open(message.id):
            await self._outbox.apply([hop], *extra)
        else:
            if extra:
                await self._store.write(*extra)
            if self._outbox.open(message.id):
                await self._outbox.apply([hop])
        if message.origin != self._node:
            self._post(message, hop)
