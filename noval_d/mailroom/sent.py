"""What was sent from here, as the state file has it. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from nova_torch.codec import decode_message
from nova_torch.errors import MessageNotFound
from nova_torch.values import AgentId, HoldReason, Hop, Message, MessageId, NodeId, Receipt, State
from noval_d.mailroom import outgoing
from noval_d.mailroom.outgoing import Outgoing
from noval_d.mailroom.store import Store

LOOKED_AT = 5000
"""Among so many of the newest messages those for one agent are looked for."""


class Sent:
    """The outbox and hop tables, read."""

    def __init__(self, store: Store, node: NodeId, clock_ms: Callable[[], int]) -> None:
        self._store = store
        self._node = node
        self._clock_ms = clock_ms
        self._fresh: dict[MessageId, Message] = {}
        """Messages that were accepted just now, as they were given, until they are first read to be sent."""
        self._held_back: set[MessageId] = set()
        """Accepted messages that are not to be sent yet; after a crash nothing is held back."""

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

    def depth(self) -> int:
        """Return how many messages are not final."""
        return int(self._store.read("SELECT COUNT(*) AS n FROM outbox WHERE final = 0")[0]["n"])

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

    def _rows(self, where: str, values: tuple[object, ...]) -> list[Outgoing]:
        rows = self._store.read(f"SELECT {outgoing.OUTGOING} FROM outbox WHERE {where}", values)
        return [outgoing.outgoing(row, self._fresh.pop(row["id"], None)) for row in rows]
