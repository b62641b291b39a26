"""What this node did with each message it received: received, typing, typed, entered, settled. BROKER, section 4.

`typing` is durable before a paste may run, and the pane option says whether it did run (DELIVERY 2.3), so after a
crash every message is either known to be untyped, known to be typed, or in a pane that is gone.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from enum import StrEnum

from nova_torch.codec import decode_message
from nova_torch.values import AgentId, Hop, Message, MessageId, NodeId, State
from noval_d.mailroom.store import Statement, Store


class Phase(StrEnum):
    """How far this node's work on a message went."""

    RECEIVED = "received"
    TYPING = "typing"
    """A paste may have run; the pane's marker tells."""
    ENTERED = "entered"
    """Submitted by the proof of the composer; a hook may still acknowledge it."""
    SETTLED = "settled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of the ledger. `pane` is the key of the pane a paste was aimed at, empty before that."""

    message: Message
    agent: AgentId
    phase: Phase
    attempt: int
    pane: str
    state: State
    reason: str

    @property
    def token(self) -> str:
        """The marker that the paste of this attempt leaves in the pane."""
        return f"{self.message.id}.{self.attempt}"

    def verdict(self, node: NodeId, now_ms: int) -> Hop:
        """Return the receipt of a message that is settled at `node`."""
        return Hop(
            message=self.message.id,
            at_ms=now_ms,
            node=node,
            state=self.state,
            reason=self.reason,
            final=True,
        )


_COLUMNS = "id, agent, message, phase, attempt, pane, state, reason"


class Ledger:
    """The ledger table of the state file."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._newest = ""
        """No message here has a later id than this one; empty: not looked yet."""

    def find(self, message: MessageId) -> Entry | None:
        """Return what is known of a message, or None."""
        if message > self._latest():
            return None  # so it is with most: nobody has to look
        rows = self._store.read(f"SELECT {_COLUMNS} FROM ledger WHERE id = ?", (message,))
        return _entry(rows[0]) if rows else None

    def _latest(self) -> str:
        if not self._newest:
            rows = self._store.read("SELECT COALESCE(MAX(id), '0') AS newest FROM ledger")
            self._newest = rows[0]["newest"]
        return self._newest

    def unsettled(self) -> list[Entry]:
        """Return every message that is not settled, in the order they were received."""
        rows = self._store.read(f"SELECT {_COLUMNS} FROM ledger WHERE phase != 'settled' ORDER BY seq")
        return [_entry(row) for row in rows]

    def recent(self, agent: AgentId, limit: int) -> list[Entry]:
        """Return the last `limit` messages of an agent, oldest first."""
        rows = self._store.read(
            f"SELECT {_COLUMNS} FROM ledger WHERE agent = ? ORDER BY seq DESC LIMIT ?", (agent, limit)
        )
        return [_entry(row) for row in reversed(rows)]

    def last(self, limit: int) -> list[Entry]:
        """Return the last `limit` messages of all agents, oldest first."""
        rows = self._store.read(f"SELECT {_COLUMNS} FROM ledger ORDER BY seq DESC LIMIT ?", (limit,))
        return [_entry(row) for row in reversed(rows)]

    def undelivered(self, agent: str | None, limit: int) -> list[tuple[Entry, int]]:
        """Return the last `limit` messages whose verdict is not a delivery, with its time (ms), oldest first."""
        rows = self._store.read(
            f"SELECT {_COLUMNS}, updated_ms FROM ledger WHERE phase = 'settled' AND dropped = 0"
            " AND state IN ('unconfirmed', 'failed', 'expired', 'dead') AND (? IS NULL OR agent = ?)"
            " ORDER BY seq DESC LIMIT ?",
            (agent, agent, limit),
        )
        return [(_entry(row), row["updated_ms"]) for row in reversed(rows)]

    def verdicts(self, agent: AgentId, limit: int) -> list[tuple[Message, State, int]]:
        """Return the last `limit` settled messages of an agent with verdict and its time (ms), oldest first."""
        rows = self._store.read(
            "SELECT message, state, updated_ms FROM ledger WHERE agent = ? AND phase = 'settled'"
            " ORDER BY seq DESC LIMIT ?",
            (agent, limit),
        )
        return [
            (decode_message(row["message"]), State(row["state"]), row["updated_ms"]) for row in reversed(rows)
        ]

    @staticmethod
    def dropped(message: MessageId, now_ms: int) -> Statement:
        """Take an undelivered message off the list; its id stays known, so that no repeat is typed."""
        return Statement("UPDATE ledger SET dropped = 1, updated_ms = ? WHERE id = ?", (now_ms, message))

    def received(self, message: Message, agent: AgentId, envelope: bytes, now_ms: int) -> Statement:
        """Note that the message is here; a message that is known already stays as it is."""
        self._newest = max(self._latest(), message.id)
        return Statement(
            "INSERT INTO ledger (id, agent, message, phase, state, updated_ms) VALUES (?, ?, ?, 'received', ?, ?)"
            " ON CONFLICT (id) DO NOTHING",
            (message.id, agent, envelope, str(State.QUEUED), now_ms),
        )

    @staticmethod
    def typing(message: MessageId, attempt: int, pane: str, now_ms: int) -> Statement:
        """Note that a paste of `attempt` into `pane` may run from now on."""
        return Statement(
            "UPDATE ledger SET phase = 'typing', attempt = ?, pane = ?, updated_ms = ? WHERE id = ?",
            (attempt, pane, now_ms, message),
        )

    def first_typing(
        self, message: Message, agent: AgentId, envelope: bytes, attempt: int, pane: str, now_ms: int
    ) -> Statement:
        """Note `received` and `typing` at once."""
        self._newest = max(self._latest(), message.id)
        return Statement(
            "INSERT INTO ledger (id, agent, message, phase, attempt, pane, state, updated_ms)"
            " VALUES (?, ?, ?, 'typing', ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
            " SET phase = excluded.phase, attempt = excluded.attempt, pane = excluded.pane,"
            " updated_ms = excluded.updated_ms",
            (message.id, agent, envelope, attempt, pane, str(State.QUEUED), now_ms),
        )

    @staticmethod
    def untyped(message: MessageId, attempt: int, now_ms: int) -> Statement:
        """Note that the paste provably did not run (or was swallowed whole): it may be typed again."""
        return Statement(
            "UPDATE ledger SET phase = 'received', attempt = ?, state = ?, updated_ms = ? WHERE id = ?",
            (attempt, str(State.QUEUED), now_ms, message),
        )

    @staticmethod
    def entered(message: MessageId, now_ms: int) -> Statement:
        """Note that the composer's proof is there and a hook may follow."""
        return Statement(
            "UPDATE ledger SET phase = 'entered', state = ?, reason = '', updated_ms = ? WHERE id = ?",
            (str(State.SUBMITTED), now_ms, message),
        )

    @staticmethod
    def proven(message: MessageId, reason: str, now_ms: int) -> Statement:
        """Note that a hook has told of its prompt, for who takes over before the verdict is written."""
        return Statement(
            "UPDATE ledger SET state = ?, reason = ?, updated_ms = ?"
            " WHERE id = ? AND phase IN ('typing', 'entered')",
            (str(State.ACKNOWLEDGED), reason, now_ms, message),
        )

    @staticmethod
    def unproven(message: MessageId, now_ms: int) -> Statement:
        """Take that back: the prompt was somebody else's."""
        return Statement(
            "UPDATE ledger SET state = ?, reason = '', updated_ms = ? WHERE id = ? AND phase = 'typing'",
            (str(State.QUEUED), now_ms, message),
        )

    @staticmethod
    def settled(message: MessageId, state: State, reason: str, now_ms: int) -> Statement:
        """Note the final verdict; the first one stands until it is `reopened`."""
        return Statement(
            "UPDATE ledger SET phase = 'settled', state = ?, reason = ?, updated_ms = ?"
            " WHERE id = ? AND phase != 'settled'",
            (str(state), reason, now_ms, message),
        )

    @staticmethod
    def reopened(message: MessageId, now_ms: int) -> Statement:
        """Take a verdict back because somebody ordered the message to be typed again."""
        return Statement(
            "UPDATE ledger SET phase = 'received', state = ?, reason = '', attempt = attempt + 1, updated_ms = ?"
            " WHERE id = ? AND phase = 'settled'",
            (str(State.QUEUED), now_ms, message),
        )

    @staticmethod
    def let_go(message: MessageId) -> Statement:
        """Forget a message that was not typed here: another node has its agent now."""
        return Statement("DELETE FROM ledger WHERE id = ? AND phase = 'received'", (message,))

    @staticmethod
    def purge(before_ms: int) -> Statement:
        """Forget what was settled before `before_ms`."""
        sql = "DELETE FROM ledger WHERE phase = 'settled' AND updated_ms < ?"
        return Statement(sql, (before_ms,), slow=True)


def _entry(row: sqlite3.Row) -> Entry:
    return Entry(
        message=decode_message(row["message"]),
        agent=AgentId(row["agent"]),
        phase=Phase(row["phase"]),
        attempt=row["attempt"],
        pane=row["pane"],
        state=State(row["state"]),
        reason=row["reason"],
    )
