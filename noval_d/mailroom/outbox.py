"""The sender's side: what was accepted here, what became of it, hop by hop, and who waits for news of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace

from nova_torch.codec import decode_message
from nova_torch.errors import Conflict, MessageNotFound
from nova_torch.values import AgentId, HoldReason, Hop, Message, MessageId, NodeId, Receipt, State
from noval_d.failpoints import failpoint
from noval_d.mailroom import outgoing
from noval_d.mailroom.outgoing import Outgoing
from noval_d.mailroom.quota import Quota
from noval_d.mailroom.store import Statement, Store

REMEMBERED = 10_000
"""Of so many open messages it is remembered whom they are for; then it is read again."""
FRESH = 256
"""So many messages are kept as they were given until they are sent; of more, what was written is read."""
LOOKED_AT = 5000
"""Among so many of the newest messages those for one agent are looked for."""

PASSING = frozenset({State.HELD, State.TYPED})
"""States of which the next one is soon told."""

_UNDELIVERED = "('unconfirmed', 'failed', 'expired', 'dead')"
_LEAVES_FINAL = {State.QUEUED: f"state IN {_UNDELIVERED}", State.REPLIED: "state != 'replied'"}


class Outbox:
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
        self._quota = quota
        self._demand = demand
        self._coming = coming
        self._store = store
        self._role_of = role_of
        self._node = node
        self._clock_ms = clock_ms
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
        self._fresh: dict[MessageId, Message] = {}
        """Messages that were accepted just now, as they were given, until they are first read to be sent."""
        self._held_back: set[MessageId] = set()
        """Accepted messages that are not to be sent yet; after a crash nothing is held back."""
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
        first = (
            message.id not in self._accepting
        )  # of two that bring the same id at once, the file keeps that one
        failpoint("accept.before")
        try:
            self._accepting.add(message.id)
            self._perhaps_open.add(message.id)
            row = outgoing.new_row(message, agent, self._node, now)
            await self._store.write(row, outgoing.hop_row(hop), *extra)
        except BaseException:
            if quota is not None:
                quota.give_back(message.id)
            raise
        finally:
            if first:
                self._accepting.discard(message.id)
            self.grew.set()  # whoever gave up waiting may have had it written
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

    def unsent(self, limit: int, *, skip: Iterable[AgentId] = (), after: int = 0) -> list[Outgoing]:
        """Return the oldest accepted messages that no mailbox has yet, in order.

        Without those for the agents in `skip`, and from behind the place `after`.
        """
        names = list(skip)
        marks = ",".join("?" * len(names))
        rows = self._rows(
            f"final = 0 AND state = 'accepted' AND seq > ? AND agent NOT IN ({marks}) ORDER BY seq LIMIT ?",
            (after, *names, limit + len(self._held_back)),
        )
        return [row for row in rows if row.message.id not in self._held_back][:limit]

    def let_go(self, messages: Iterable[MessageId]) -> None:
        """Send what was held back."""
        self._held_back.difference_update(messages)
        self.grew.set()

    def near(self, agents: Iterable[AgentId]) -> list[tuple[int, MessageId, AgentId]]:
        """Return place, id and agent of what is for `agents` and was given to no other node, in order."""
        names = list(agents)
        marks = ",".join("?" * len(names))
        rows = self._store.read(
            "SELECT seq, id, agent FROM outbox"
            " WHERE final = 0 AND state IN ('accepted', 'queued')"
            f" AND node = ? AND agent IN ({marks}) ORDER BY seq",
            (self._node, *names),
        )
        return [
            (row["seq"], MessageId(row["id"]), AgentId(row["agent"]))
            for row in rows
            if row["id"] not in self._held_back
        ]

    def at(self, seq: int) -> Outgoing | None:
        """Return the message at this place, if it is not final."""
        return next(iter(self._rows("final = 0 AND seq = ?", (seq,))), None)

    def unsettled(self, message: MessageId) -> Outgoing | None:
        """Return a message that was sent from here and is not final; else None."""
        return next(iter(self._rows("final = 0 AND id = ?", (message,))), None)

    def of(self, agent: AgentId, limit: int) -> list[Outgoing]:
        """Return messages for `agent` that are not final and with no other node, in order."""
        return self._rows(
            "final = 0 AND agent = ? AND node = ? ORDER BY seq LIMIT ?", (agent, self._node, limit)
        )

    def silent(self, before_ms: int, limit: int) -> list[Outgoing]:
        """Return messages that were handed on, are not final, and of which no receipt came since `before_ms`.

        Also those whose last news is of a time that is still to come: the clock was set back since.
        """
        return self._rows(
            "final = 0 AND state != 'accepted' AND (updated_ms < ? OR updated_ms > ?) ORDER BY seq LIMIT ?",
            (before_ms, self._clock_ms() + 1000, limit),
        )

    def all_open(self) -> list[tuple[Message, AgentId]]:
        """Return every message that is not final, and whom it is for."""
        return [(out.message, out.agent) for out in self._rows("final = 0 ORDER BY seq", ())]

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

    def here(self, message: MessageId) -> bool:
        """Tell whether a message was sent from here and is in no mailbox that another node has or had."""
        sql = "SELECT 1 FROM outbox WHERE id = ? AND node = ?"
        return bool(self._store.read(sql, (message, self._node)))

    def agent_of(self, message: MessageId) -> AgentId | None:
        """Return the mailbox that a message of this outbox is for, or None when it is not from here."""
        rows = self._store.read("SELECT agent FROM outbox WHERE id = ?", (message,))
        return AgentId(rows[0]["agent"]) if rows else None

    def state_of(self, message: MessageId) -> State | None:
        """Return the state of a message of this outbox, or None when it is not from here."""
        rows = self._store.read("SELECT state FROM outbox WHERE id = ?", (message,))
        return State(rows[0]["state"]) if rows else None

    def headers_of(self, message: MessageId) -> Mapping[str, str]:
        """Return the headers of a message of this outbox; none of one that is not from here."""
        rows = self._store.read("SELECT message FROM outbox WHERE id = ?", (message,))
        return decode_message(rows[0]["message"]).headers if rows else {}

    def find(self, message: MessageId) -> Message | None:
        """Return a message that was sent from here, or None."""
        rows = self._store.read("SELECT message FROM outbox WHERE id = ?", (message,))
        return decode_message(rows[0]["message"]) if rows else None

    def recent(self, agent: str | None, limit: int) -> list[Outgoing]:
        """Return the last `limit` messages that were accepted here (for `agent`), oldest first."""
        if agent is None:
            return self._rows("TRUE ORDER BY seq DESC LIMIT ?", (limit,))[::-1]
        newest = "seq > (SELECT MAX(seq) FROM outbox) - ?"  # nobody waits while the whole table is read
        found = self._rows(f"agent = ? AND {newest} ORDER BY seq DESC LIMIT ?", (agent, LOOKED_AT, limit))
        return found[::-1]

    def oldest_open_ms(self) -> int | None:
        """Return when the oldest message that is not final was accepted, ms since the epoch, or None."""
        rows = self._store.read("SELECT created_ms FROM outbox WHERE final = 0 ORDER BY seq LIMIT 1")
        return int(rows[0]["created_ms"]) if rows else None

    def newest(self) -> int:
        """Return the place of the message that was accepted last; 0: none ever was."""
        return int(self._store.read("SELECT COALESCE(MAX(seq), 0) AS newest FROM outbox")[0]["newest"])

    def handed_on(self, message: MessageId) -> bool:
        """Tell whether it ever left this outbox: what became of it then only its owner knows."""
        asked = "SELECT 1 FROM hops WHERE message = ? AND state != 'accepted' LIMIT 1"
        return bool(self._store.read(asked, (message,)))

    def ownerless(self) -> dict[AgentId, int]:
        """Return how many messages wait for each agent whose mailbox no node has."""
        rows = self._store.read(
            "SELECT agent, COUNT(*) AS n FROM outbox"
            " WHERE final = 0 AND state = 'accepted' AND reason = ? GROUP BY agent",
            (HoldReason.NO_AGENT.value,),
        )
        return {AgentId(row["agent"]): int(row["n"]) for row in rows}

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

    def depth(self) -> int:
        """Return how many messages are not final."""
        return int(self._store.read("SELECT COUNT(*) AS n FROM outbox WHERE final = 0")[0]["n"])

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

    def announce(self, hops: Iterable[Hop]) -> None:
        """Tell the listeners of hops that are written: durable, or kept in the mail until they are."""
        for hop in hops:
            agent = self._agents.get(hop.message) or self.agent_of(hop.message)
            if agent is not None:
                self._tell(hop, agent)
            if hop.final:
                self._agents.pop(hop.message, None)
                self._fresh.pop(hop.message, None)
                self._perhaps_open.discard(hop.message)

    def receipt(self, message: MessageId) -> Receipt:
        """Return the present receipt of a message. Raises MessageNotFound."""
        rows = self._store.read(f"SELECT {outgoing.RECEIPT} FROM outbox WHERE id = ?", (message,))
        if not rows:
            raise MessageNotFound(
                f"no message {message} was sent from node {self._node}.",
                "Ask on the node that sent it, or list recent ones with: novactl watch",
            )
        return outgoing.receipt(rows[0], self.hops(message))

    def hops(self, message: MessageId) -> list[Hop]:
        """Return every known hop of a message, oldest first."""
        rows = self._store.read("SELECT * FROM hops WHERE message = ? ORDER BY at_ms, rowid", (message,))
        return [outgoing.hop(message, row) for row in rows]

    @staticmethod
    def purge(before_ms: int) -> tuple[Statement, ...]:
        """Forget what became final before `before_ms`."""
        return (
            Statement("DELETE FROM outbox WHERE final = 1 AND updated_ms < ?", (before_ms,), slow=True),
            Statement("DELETE FROM hops WHERE message NOT IN (SELECT id FROM outbox)", slow=True),
        )

    async def _each(self, sql: str, messages: Iterable[MessageId], *values: object) -> None:
        await self._store.write(*(Statement(sql, (*values, message)) for message in messages))

    def _rows(self, where: str, values: tuple[object, ...]) -> list[Outgoing]:
        rows = self._store.read(f"SELECT {outgoing.OUTGOING} FROM outbox WHERE {where}", values)
        return [outgoing.outgoing(row, self._fresh.pop(row["id"], None)) for row in rows]

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
