"""The sender's side: take messages over, write down what becomes of them, hop by hop, and tell who waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

from nova_torch.codec import decode_message
from nova_torch.errors import Conflict, StoreFailed
from nova_torch.values import AgentId, Hop, Message, MessageId, NodeId, Receipt, State
from noval_d.failpoints import failpoint
from noval_d.mailroom import outgoing
from noval_d.mailroom.quota import Quota
from noval_d.mailroom.sent import Sent
from noval_d.mailroom.store import Statement, Store

REMEMBERED = 10_000
"""Of so many open messages it is remembered whom they are for; then it is read again."""
FRESH = 256
"""So many messages are kept as they were given until they are sent; of more, what was written is read."""

PASSING = frozenset({State.HELD, State.TYPED})
"""States of which the next one is soon told."""

_UNDELIVERED = "('unconfirmed', 'failed', 'expired', 'dead')"
_LEAVES_FINAL = {State.QUEUED: f"state IN {_UNDELIVERED}", State.REPLIED: "state != 'replied'"}


class Outbox(Sent):
    """The outbox and hop tables of the state file. Every change is told to `listen`ers."""

    def __init__(
        self,
        store: Store,
        node: NodeId,
        clock_ms: Callable[[], int],
        *,
        role_of: Callable[[str], str] = lambda _: "",
        quota: Callable[[], Quota | None] = lambda: None,
        demand: Callable[[AgentId], Awaitable[None]] | None = None,
        coming: Callable[[AgentId], None] = lambda _: None,
    ) -> None:
        super().__init__(store, node, clock_ms)
        self._quota = quota
        self._demand = demand
        self._coming = coming
        self._role_of = role_of
        self._listeners: list[Callable[[Hop, AgentId], None]] = []
        self._agents: dict[MessageId, AgentId] = {}
        """Whom open messages are for, as far as that was seen."""
        self._perhaps_open: set[MessageId] = set()
        """Every message that is not final, once they are `_counted`, and some that are."""
        self._counted = False
        self._accepting: set[MessageId] = set()
        self.accepted = 0
        """How many messages were accepted since the start."""
        self._newest_id = ""
        """No message of this outbox has a later id than this one; empty: not looked yet."""
        self.grew = asyncio.Event()
        """Set whenever something waits to be sent, or is open again."""

    def listen(self, listener: Callable[[Hop, AgentId], None]) -> None:
        """Call `listener` with every hop once it is durable."""
        self._listeners.append(listener)

    async def accept(
        self,
        message: Message,
        agent: AgentId,
        *extra: Statement,
        reason: str = "",
        hold: bool = False,
        limited: bool = False,
    ) -> Receipt:
        """Take a message over: when this returns, it is durable. The same id again gives its present receipt.

        `extra` is written with it, unless the id is known. `reason` says in its trace where it came from. With
        `hold` it is not sent before `let_go`. `limited`: it counts among what its sender has open and sends.

        Raises Conflict when the id belongs to another message, LimitReached when its sender has too many,
        NotAllowed when its agent's node would refuse it, StoreFailed when the disk refuses.
        """
        if self._may_have(message.id):
            known = self._store.read("SELECT message FROM outbox WHERE id = ?", (message.id,))
            if known:
                return self._known(message, bytes(known[0]["message"]))
        if self._demand is not None:
            await self._demand(agent)
        self._coming(agent)
        if role := self._role_of(message.sender):  # this node's word, for the policy of the one that delivers
            message = replace(message, headers={**message.headers, "role": role})
        quota = self._quota() if limited else None
        if quota is not None:
            quota.take(message, agent)
        now = self._clock_ms()
        hop = Hop(message=message.id, at_ms=now, node=self._node, state=State.ACCEPTED, reason=reason)
        if hold:
            self._held_back.add(message.id)
        failpoint("accept.before")
        try:
            first = await self._write_down(message, agent, hop, extra)
        except BaseException:
            if quota is not None:
                quota.give_back(message.id)
            raise
        failpoint("accept.after")
        self.accepted += 1
        if first:
            self._seen(message.id, agent)
            if len(self._fresh) < FRESH:
                self._fresh[message.id] = message
            receipt = outgoing.accepted(message, agent, self._node)
        else:
            kept = self._store.read("SELECT message FROM outbox WHERE id = ?", (message.id,))
            receipt = self._known(message, bytes(kept[0]["message"]))
        self._tell(hop, agent)
        return receipt

    async def _write_down(
        self, message: Message, agent: AgentId, hop: Hop, extra: Iterable[Statement]
    ) -> bool:
        """Write a message and its first hop; tell whether it is this one that the file keeps.

        Of two that bring the same id at once it is the first one.
        """
        first = message.id not in self._accepting
        self._accepting.add(message.id)
        self._perhaps_open.add(message.id)
        try:
            row = outgoing.new_row(message, agent, self._node, hop.at_ms)
            await self._store.write(row, outgoing.hop_row(hop), *extra)
        except StoreFailed:
            if self.agent_of(message.id) is None:
                self._perhaps_open.discard(message.id)
            raise
        finally:
            if first:
                self._accepting.discard(message.id)
            self.grew.set()  # whoever gave up waiting may have had it written
        if not first:
            self._perhaps_open.add(message.id)  # the other one may have failed
        return first

    def let_go(self, messages: Iterable[MessageId]) -> None:
        """Send what was held back."""
        self._held_back.difference_update(messages)
        self.grew.set()

    @property
    def quiet(self) -> bool:
        """Whether nothing is open until `grew` is set."""
        return self._counted and not self._perhaps_open

    def any_open(self) -> bool:
        """Tell whether any message is not final."""
        self._count()
        return not self.quiet and bool(self._store.read("SELECT 1 FROM outbox WHERE final = 0 LIMIT 1"))

    def _count(self) -> None:
        if not self._counted:
            found = self._store.read("SELECT id FROM outbox WHERE final = 0")
            self._perhaps_open.update(row["id"] for row in found)
            self._counted = True

    def open(self, message: MessageId) -> bool:
        """Tell whether a message was sent from here and is not final."""
        self._count()
        if message not in self._perhaps_open:
            return False
        return bool(self._store.read("SELECT 1 FROM outbox WHERE id = ? AND final = 0", (message,)))

    async def note(self, messages: Iterable[MessageId], reason: str) -> None:
        """Note why these messages are still only accepted."""
        await self._each("UPDATE outbox SET reason = ? WHERE id = ? AND state = 'accepted'", messages, reason)

    async def asked_again(self, messages: Iterable[MessageId]) -> None:
        """Note that the owners of these messages were just asked for news."""
        await self._each("UPDATE outbox SET updated_ms = ? WHERE id = ?", messages, self._clock_ms())

    async def resend_all(self) -> None:
        """Treat what is not typed as not sent: the broker may have lost it. Repeats are dropped by the ledger."""
        await self._store.write(
            Statement(
                "UPDATE outbox SET state = 'accepted', reason = ''"
                " WHERE final = 0 AND state IN ('queued', 'held')"
            )
        )
        self.grew.set()

    async def resend(self, messages: Iterable[MessageId]) -> None:
        """Treat these queued messages as not sent."""
        await self._each("UPDATE outbox SET state = 'accepted' WHERE final = 0 AND id = ?", messages)
        self.grew.set()

    def statements(
        self, hops: Iterable[Hop], row: Callable[[Hop], Statement] = outgoing.hop_row
    ) -> tuple[Statement, ...]:
        """Return what writes these hops.

        A final state is never left again, unless its owner says `queued` (somebody ordered it to be typed again)
        or an answer to it has come.
        """
        made: list[Statement] = []
        told = list(hops)
        last = {hop.message: n for n, hop in enumerate(told)}
        for n, hop in enumerate(told):
            if hop.state in _LEAVES_FINAL and not hop.final and hop.message not in self._perhaps_open:
                self._perhaps_open.add(hop.message)
                self.grew.set()
            if n != last[hop.message] and hop.state in PASSING and not hop.final:
                made.append(row(hop))  # the next one writes every column, on the same condition
                continue
            made.append(
                Statement(
                    "UPDATE outbox SET state = ?, reason = ?, node = ?, final = ?, updated_ms = ? WHERE id = ?"
                    f" AND (final = 0 OR {_LEAVES_FINAL.get(hop.state, 'FALSE')})",
                    (hop.state.value, hop.reason, hop.node, int(hop.final), self._clock_ms(), hop.message),
                )
            )
            made.append(row(hop))
        return tuple(made)

    async def advance(self, hops: list[Hop]) -> None:
        """Write hops of messages that are still `accepted`; a faster receipt of their owner is kept."""
        made: list[Statement] = []
        for hop in hops:
            if hop.final:
                made += self.statements([hop])
                continue
            made.append(
                Statement(
                    "UPDATE outbox SET state = ?, reason = ?, node = ?, updated_ms = ?"
                    " WHERE id = ? AND state = 'accepted' AND final = 0",
                    (hop.state.value, hop.reason, hop.node, self._clock_ms(), hop.message),
                )
            )
            made.append(outgoing.hop_row(hop))
        write = self._store.write if any(hop.final for hop in hops) else self._store.note
        await write(*made)  # a note that is lost with the machine: it is sent once more
        self.announce(hops)

    async def apply(self, hops: list[Hop], *extra: Statement) -> None:
        """Write hops of messages of this outbox (and `extra` with them), then tell the listeners."""
        await self._store.write(*extra, *self.statements(hops))
        self.announce(hops)

    async def hear(self, hops: list[Hop]) -> int:
        """Write hops that are kept elsewhere until they are durable: see what `Store.note` returns."""
        when = await self._store.note(*self.statements(hops, row=outgoing.heard_row))
        self.announce(hops)
        return when

    def announce(self, hops: Sequence[Hop]) -> None:
        """Tell the listeners of hops that are written: durable, or kept in the mail until they are."""
        last = {hop.message: hop for hop in hops}
        for hop in hops:
            agent = self._agents.get(hop.message) or self.agent_of(hop.message)
            if agent is not None:
                self._tell(hop, agent)
            if hop.final and last[hop.message].final:  # else it is open again, by what was told with it
                self._agents.pop(hop.message, None)
                self._fresh.pop(hop.message, None)
                self._perhaps_open.discard(hop.message)

    @staticmethod
    def purge(before_ms: int) -> tuple[Statement, ...]:
        """Forget what became final before `before_ms`."""
        return (
            Statement("DELETE FROM outbox WHERE final = 1 AND updated_ms < ?", (before_ms,), slow=True),
            Statement("DELETE FROM hops WHERE message NOT IN (SELECT id FROM outbox)", slow=True),
        )

    async def _each(self, sql: str, messages: Iterable[MessageId], *values: object) -> None:
        await self._store.write(*(Statement(sql, (*values, message)) for message in messages))

    def _may_have(self, message: MessageId) -> bool:
        """Tell whether a message with this id may have been accepted here: none was with a later one than all."""
        if not self._newest_id:
            rows = self._store.read("SELECT COALESCE(MAX(id), '0') AS newest FROM outbox")
            self._newest_id = rows[0]["newest"]
        if message <= self._newest_id:
            return True
        self._newest_id = message
        return False

    def _known(self, message: Message, envelope: bytes) -> Receipt:
        known = decode_message(envelope)
        if (known.target, known.body, known.sender) != (message.target, message.body, message.sender):
            raise Conflict(
                f"the id {message.id} belongs to another message.", "Leave --id away, or give a new ULID."
            )
        return self.receipt(message.id)

    def _seen(self, message: MessageId, agent: AgentId) -> None:
        if len(self._agents) >= REMEMBERED:
            self._agents.clear()
        self._agents[message] = agent

    def _tell(self, hop: Hop, agent: AgentId) -> None:
        for listener in self._listeners:
            listener(hop, agent)
