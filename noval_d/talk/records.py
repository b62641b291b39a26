"""What the state file knows of conversations: questions and their answers, and what passed between agents."""

from __future__ import annotations

from nova_torch.values import DELIVERED, AgentId, Kind, Message, MessageId
from noval_d.mailroom.ledger import Entry, Ledger
from noval_d.mailroom.store import Statement, Store
from noval_d.talk.limits import MINUTE_MS, Facts

TASKS_LOOKED_AT = 16
"""Of an agent's open questions the newest so many are looked through for a task, with each beat."""


class Records:
    """The tables `questions` (one row a message that wants or has an answer) and `talks` (what was let through)."""

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger

    # -- questions --

    @staticmethod
    def asked(message: Message, agent: AgentId, now_ms: int) -> Statement:
        """Note that `agent` was asked something."""
        return Statement(
            "INSERT INTO questions (id, agent, at_ms) VALUES (?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET agent = excluded.agent",
            (message.id, agent, now_ms),
        )

    @staticmethod
    def answered(question: str, reply: MessageId, now_ms: int) -> Statement:
        """Note which message is the answer; the first one stands."""
        return Statement(
            "INSERT INTO questions (id, agent, reply, at_ms) VALUES (?, '', ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET reply = excluded.reply WHERE reply = ''",
            (question, reply, now_ms),
        )

    @staticmethod
    def taken(question: str) -> Statement:
        """Note that whoever waited for the answer has it: it is not typed any more."""
        return Statement("UPDATE questions SET taken = 1 WHERE id = ?", (question,))

    def answer_of(self, question: str) -> MessageId | None:
        """Return the id of the answer that was given, wherever it is now."""
        rows = self._store.read("SELECT reply FROM questions WHERE id = ? AND reply != ''", (question,))
        return MessageId(rows[0]["reply"]) if rows else None

    def is_taken(self, question: str) -> bool:
        """Tell whether whoever waited for the answer has it."""
        return bool(self._store.read("SELECT 1 FROM questions WHERE id = ? AND taken = 1", (question,)))

    def unanswered(self, agent: AgentId, limit: int) -> list[Entry]:
        """Return the last questions that `agent` was given and has not answered, oldest first."""
        rows = self._store.read(
            "SELECT id FROM questions WHERE agent = ? AND reply = '' ORDER BY id DESC LIMIT ?", (agent, limit)
        )
        found = (self._ledger.find(MessageId(row["id"])) for row in reversed(rows))
        return [entry for entry in found if entry is not None]

    def in_question(self) -> frozenset[AgentId]:
        """Return the agents that were given a question and have not answered it: most of a fleet have none."""
        rows = self._store.read("SELECT DISTINCT agent FROM questions WHERE reply = ''")
        return frozenset(AgentId(row["agent"]) for row in rows)

    def current_task(self, agent: AgentId) -> MessageId | None:
        """Return the newest task that was typed to `agent` and has no result yet."""
        for entry in reversed(self.unanswered(agent, TASKS_LOOKED_AT)):
            if entry.message.kind is Kind.TASK and entry.state in DELIVERED:
                return entry.message.id
        return None

    # -- what passed between agents --

    @staticmethod
    def passed(message: Message, agent: AgentId, now_ms: int) -> Statement:
        """Note that a message between agents is about to be typed; a further try of it counts no more."""
        return Statement(
            "INSERT INTO talks (id, conversation, sender, agent, at_ms) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO NOTHING",
            (message.id, message.conversation, message.sender, agent, now_ms),
        )

    def has_passed(self, message: MessageId) -> bool:
        """Tell whether a message was about to be typed before."""
        return bool(self._store.read("SELECT 1 FROM talks WHERE id = ?", (message,)))

    def facts(self, message: Message, agent: AgentId, *, per_minute: int, now_ms: int) -> Facts:
        """Return what the limits need to know of a message for `agent`."""
        exchanges = self._store.read(
            "SELECT COUNT(*) AS n FROM talks WHERE agent = ? AND conversation = ?",
            (agent, message.conversation),
        )
        recent = self._store.read(
            "SELECT at_ms FROM talks WHERE agent = ? AND sender = ? AND at_ms BETWEEN ? AND ?"
            " ORDER BY at_ms DESC LIMIT ?",
            (agent, message.sender, now_ms - MINUTE_MS, now_ms + MINUTE_MS, per_minute),
        )
        return Facts(exchanges=int(exchanges[0]["n"]), at_ms=tuple(row["at_ms"] for row in reversed(recent)))

    @staticmethod
    def purge(before_ms: int) -> tuple[Statement, ...]:
        """Forget what is older than `before_ms`."""
        return (
            Statement("DELETE FROM questions WHERE at_ms < ?", (before_ms,), slow=True),
            Statement("DELETE FROM talks WHERE at_ms < ?", (before_ms,), slow=True),
        )
