"""Answer the calls about conversations: reply, answer, inbox."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nova_torch.errors import InvalidRequest, MessageNotFound, ShuttingDown
from nova_torch.values import AgentId, Kind, Message, Priority, Receipt, State
from noval_d.calls.base import Base
from noval_d.calls.people import person
from noval_d.control.args import Args
from noval_d.control.calls import Access, Peer
from noval_d.mailroom.ledger import Entry, Phase

INBOX_ROWS = 50
UNSEEN = frozenset({State.FAILED, State.EXPIRED, State.DEAD})
"""What was never typed: nobody has been asked."""


class Talks(Base):
    """One method a call."""

    async def reply(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Accept the answer to a message; its sender is the one whom that message was sent to."""
        if self._node.stopping.is_set():
            raise ShuttingDown(
                "the daemon is stopping and takes no new messages.", "Send it again in a moment."
            )
        asked = Args(args)
        receipt = await self._node.orchestrator.reply(
            asked.text("question"),
            asked.payload("body"),
            message_id=asked.optional_text("id"),
            sender=self._sender(peer, asked),
            priority=asked.optional_text("priority") or Priority.NORMAL,
        )
        return receipt.to_json()

    async def answer(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer that came to a message; with `take` it need not be typed to its asker any more."""
        asked = Args(args)
        question = asked.text("id")
        if asked.flag("take"):
            return (await self._node.talk.take(question)).to_json()
        return (await self._node.orchestrator.answer(question)).to_json()

    async def inbox(self, peer: Peer, args: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return an agent's messages, or a person's answers, the newest last."""
        asked = Args(args)
        name, limit = asked.optional_text("agent"), asked.optional_integer("limit", least=1, most=1000)
        caller = self._agent_of(asked) if name is None else None
        if name is None and caller is None:
            if asked.flag("replies"):
                return self._kept(person(peer), limit or INBOX_ROWS)
            raise InvalidRequest("this pane is no agent's.", "Name one: novactl inbox AGENT")
        agent = await self._here_in(name, "inbox") if name is not None else caller
        assert agent is not None
        rows = self._rows(agent.id, unanswered=asked.flag("unanswered"), limit=limit or INBOX_ROWS)
        if asked.flag("replies"):
            rows = [row for row in rows if row["kind"] == Kind.REPLY.value]
        return rows

    def _rows(self, agent: AgentId, *, unanswered: bool, limit: int) -> list[dict[str, Any]]:
        node = self._node
        if unanswered:
            open_ones = (e for e in node.talk.records.unanswered(agent, 1000) if _seen(e))
            return [_row(entry.message, entry.state, entry.reason) for entry in open_ones][-limit:]
        rows = {
            entry.message.id: _row(entry.message, entry.state, entry.reason)
            for entry in node.ledger.recent(agent, limit)
        }
        for item in node.roster.workers[agent].items:
            state, reason = item.told if item.told[0] else (State.QUEUED.value, "")
            rows[item.message.id] = _row(item.message, State(state), reason)
        return sorted(rows.values(), key=lambda row: str(row["id"]))[-limit:]

    def _kept(self, who: str, limit: int) -> list[dict[str, Any]]:
        """Return the answers that this node keeps for a person."""
        entries = self._node.ledger.recent(self._node.talk.box, 1000)
        return [_row(e.message, e.state, e.reason) for e in entries if e.message.target == who][-limit:]

    def _sender(self, peer: Peer, asked: Args) -> str:
        """Return who speaks: who is named, else the agent in whose pane the caller runs, else the person.

        Raises NotAllowed when the policy does not let the caller, as the kernel knows it, speak in that name.
        """
        caller = self._agent_of(asked)
        sender = asked.optional_text("sender") or (caller.id if caller is not None else person(peer))
        guard = self._node.guard
        if guard.policy.about("speak"):
            by = guard.agent_behind(peer.pid) or person(peer)
            if by != sender:
                guard.demand("speak", by, guard.party(sender))
        return sender

    def _reply_of(self, peer: Peer, receipt: Receipt) -> dict[str, Any]:
        """Return what is known of the answer to a message; its body is for those who may write."""
        try:
            found = self._node.talk.answer(receipt.id).to_json()
        except MessageNotFound:
            return {"id": receipt.reason}
        return found if peer.access >= Access.WRITE else {**found, "body": None}


def _seen(entry: Entry) -> bool:
    return entry.phase is not Phase.RECEIVED and entry.state not in UNSEEN


def _row(message: Message, state: State, reason: str) -> dict[str, Any]:
    return {
        "id": message.id,
        "sender": message.sender,
        "state": state.value,
        "reason": reason,
        "priority": message.priority.value,
        "kind": message.kind.value,
        "reply_to": message.reply_to,
        "answer_wanted": message.wants_answer,
        "created_ms": message.created_ms,
        "body": message.body,
    }
