"""Write down what happens to a message and tell its sender: the ledger and the outbox change together.

A message of this node's own outbox gets its hop in the same transaction; one from another node gets it as a
receipt, which `post` sends and the other side's resend asks for again if it is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from nova_torch.codec import encode_message
from nova_torch.values import Hop, Message, NodeId, State
from noval_d.delivery.item import Item
from noval_d.delivery.template import from_machine
from noval_d.failpoints import failpoint
from noval_d.mailroom.fence import Fence
from noval_d.mailroom.ledger import Ledger, Phase
from noval_d.mailroom.outbox import Outbox
from noval_d.mailroom.performances import Performances
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
        ledger: Ledger,
        node: NodeId,
        clock_ms: Callable[[], int],
        post: Post,
        release: Release,
        performances: Performances,
        fence: Fence,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._ledger = ledger
        self._node = node
        self._clock_ms = clock_ms
        self._post = post
        self._release = release
        self._performances = performances
        self._fence = fence

    async def tell(self, item: Item, state: State, reason: str = "") -> None:
        """Tell the sender of a state on the way (held, typed); the same one twice is told once."""
        if item.told == (state.value, reason):
            return
        failpoint("hop.before")
        await self._record(item, state, reason, False)
        failpoint("hop.after")
        item.told = (state.value, reason)

    async def typing(self, item: Item, pane: str) -> None:
        """Make durable that a paste into `pane` may run from now on. Raises what `Fence.begin` raises."""
        item.begun = True
        try:
            if self._fence.own(item):
                await self._begin(item, pane)
                failpoint("begin.after")
            else:
                await self._begin_marked(item, pane)
        except BaseException:
            item.begun = False
            raise
        item.phase, item.pane, item.written = Phase.TYPING, pane, True

    async def _begin_marked(self, item: Item, pane: str) -> None:
        """Write the ledger and the mark in the mailbox at the same time; when one fails, neither holds."""
        written = self._begin(item, pane)
        problem: Exception | None = None
        try:
            await self._fence.begin(item)
        except Exception as error:  # noqa: BLE001 - raised below, once the ledger knows of it
            problem = error
        except BaseException:
            written.cancel()
            raise
        await written
        failpoint("begin.after")
        if problem is not None:
            item.written = True
            await self._store.write(Ledger.untyped(item.message.id, item.attempt, self._clock_ms()))
            raise problem

    def _begin(self, item: Item, pane: str) -> asyncio.Future[None]:
        """Begin to write the ledger; when the future is done, it is durable."""
        message, now_ms = item.message, self._clock_ms()
        if item.written:
            notes = [Ledger.typing(message.id, item.attempt, pane, now_ms)]
        else:
            envelope = encode_message(message)
            notes = [self._ledger.first_typing(message, item.agent, envelope, item.attempt, pane, now_ms)]
            if message.wants_answer:
                notes.append(Records.asked(message, item.agent, now_ms))
        if from_machine(message):
            notes.append(Records.passed(message, item.agent, now_ms))
        failpoint("begin.before")
        return self._store.begin(*notes)

    async def untyped(self, item: Item) -> None:
        """Note that nothing of it is in the pane: it may be typed (again)."""
        await self._store.write(Ledger.untyped(item.message.id, item.attempt, self._clock_ms()))
        item.phase, item.begun = Phase.RECEIVED, False
        await self._fence.undo(item)

    async def proven(self, items: Iterable[Item]) -> None:
        """Note which of these, still being typed, their hooks have told of: a kill of this process keeps that."""
        now_ms, told = self._clock_ms(), [item for item in items if item.phase is Phase.TYPING]
        if told:
            await self._store.note(*(Ledger.proven(item.message.id, item.beside, now_ms) for item in told))

    async def unproven(self, item: Item) -> None:
        """Note that what a hook told was of somebody else's prompt."""
        item.acknowledged = False
        await self._store.note(Ledger.unproven(item.message.id, self._clock_ms()))

    async def entered(self, item: Item) -> None:
        """Note the composer's proof of an agent whose hook will tell more; the mailbox may forget the message."""
        note = Ledger.entered(item.message.id, self._clock_ms())
        failpoint("entered.before")
        await self._record(item, State.SUBMITTED, "", False, note)
        failpoint("entered.after")
        item.phase, item.told = Phase.ENTERED, (State.SUBMITTED.value, "")
        self._release(item, State.SUBMITTED, "")

    async def settle(self, item: Item, state: State, reason: str = "") -> None:
        """Write the final verdict, tell the sender, and let the mailbox forget the message."""
        now_ms = self._clock_ms()
        note = Ledger.settled(item.message.id, state, reason, now_ms)
        failpoint("settle.before")
        await self._record(item, state, reason, True, *self._row(item), note)
        failpoint("settle.after")
        item.phase, item.told, item.written = Phase.SETTLED, (state.value, reason), True
        self._performances.settled(item.agent, item.message, state, now_ms)
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
        row = self._ledger.received(item.message, item.agent, encode_message(item.message), now_ms)
        asked = Records.asked(item.message, item.agent, now_ms)
        return (row, asked) if item.message.wants_answer else (row,)

    async def _record(self, item: Item, state: State, reason: str, final: bool, *extra: Statement) -> None:
        message = item.message
        kept = item.written and item.phase in (Phase.TYPING, Phase.ENTERED)
        await self._write(message, self._hop(message, state, reason, final), extra, kept=kept)

    def _hop(self, message: Message, state: State, reason: str, final: bool) -> Hop:
        return Hop(
            message=message.id,
            at_ms=self._clock_ms(),
            node=self._node,
            state=state,
            reason=reason,
            final=final,
        )

    async def _write(
        self, message: Message, hop: Hop, extra: tuple[Statement, ...], *, kept: bool = False
    ) -> None:
        """Write `extra` and tell the sender `hop`: one transaction when both are in this node's file.

        A message from elsewhere may be in this outbox too: a program sent it to the broker while no daemon ran, and
        with the same id again when one did, perhaps at this moment.

        With `kept` it is durable already that it was being typed. What became of it goes to its sender, who keeps
        it; here a crash of the machine, which ends the pane too, may take it back: then it is `unconfirmed` here.
        """
        if message.origin == self._node or self._outbox.open(message.id):
            await self._outbox.apply([hop], *extra)
        else:
            accepted = self._outbox.accepted
            if extra:
                await (self._store.note if kept else self._store.write)(*extra)
            if self._outbox.accepted != accepted and self._outbox.open(message.id):
                await self._outbox.apply([hop])
        if message.origin != self._node:
            self._post(message, hop)
