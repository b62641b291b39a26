"""The conversations of this node: answers that are given and that come, who waits for them, what is limited."""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from nova_torch.codec import encode_message
from nova_torch.communication import compose
from nova_torch.errors import Conflict, InvalidRequest, MessageNotFound, StoreFailed
from nova_torch.ulid import is_ulid, new_ulid
from nova_torch.values import (
    AgentId,
    HoldReason,
    Hop,
    Kind,
    Message,
    MessageId,
    NodeId,
    Receipt,
    Reply,
    State,
)
from noval_d.delivery.gate import Denied, Hold, Refuse
from noval_d.delivery.item import Item
from noval_d.delivery.template import from_machine, is_agent
from noval_d.mailroom.ledger import Ledger
from noval_d.mailroom.outbox import Outbox
from noval_d.mailroom.store import Store
from noval_d.talk.answering import addressee, answer_life_s, box_of, is_box, is_node, mailbox_for, refusal
from noval_d.talk.limits import Limits, judge
from noval_d.talk.records import Records

HAND_OVER_S = 5.0  # how long an answer waits for the program that waits for it before it is typed
LINGER_S = 2.0  # between the news of an answer and the call that takes it
HIT_MS = 600_000  # how long a conversation that was stopped shows in `status`


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A conversation that was stopped: which message was not typed any more."""

    message: MessageId
    conversation: str
    sender: str
    agent: AgentId
    at_ms: int


class Talk:
    """Questions and answers of one node. The loop's own; what must survive is in the state file."""

    def __init__(
        self,
        *,
        node: NodeId,
        store: Store,
        ledger: Ledger,
        outbox: Outbox,
        limits: Callable[[], Limits],
        clock: Callable[[], float],
        clock_ms: Callable[[], int],
        post: Callable[[NodeId, Hop], None],
        publish: Callable[[dict[str, Any]], None],
        read_on: Callable[[AgentId], None],
        refused: Callable[[Message, AgentId], Refuse | None],
        too_fast: Callable[[Message], Hold | None],
    ) -> None:
        self.box = box_of(node)
        self.records = Records(store, ledger)
        self._node = node
        self._store = store
        self._ledger = ledger
        self._outbox = outbox
        self._limits = limits
        self._clock = clock
        self._clock_ms = clock_ms
        self._post = post
        self._publish = publish
        self._read_on = read_on
        self._refused = refused
        self._too_fast = too_fast
        self._waiting: Counter[str] = Counter()
        self._until: dict[str, float] = {}
        """Questions whose answer was, or is about to be, told to a program: until when it may take it."""
        self._answering: dict[str, MessageId] = {}
        self._hits: deque[Hit] = deque(maxlen=100)

    def __repr__(self) -> str:
        return f"<Talk {self.box} waiting={self._waiting.total()}>"

    # -- what a worker asks --

    def judge(self, item: Item) -> Hold | Refuse | None:
        """Return what keeps an untyped message back, besides its pane.

        What was about to be typed before, or was ordered again by a person, is past every limit; nothing is past
        the policy.
        """
        message = item.message
        if (refused := self._refused(message, item.agent)) is not None:
            return refused
        if message.kind is Kind.REPLY and (verdict := self._handed_over(message)) is not None:
            return verdict
        if item.attempt:
            return None
        if (hold := self._too_fast(message)) is not None:
            return hold
        if not from_machine(message) or self.records.has_passed(message.id):
            return None
        limits, now_ms = self._limits(), self._clock_ms()
        facts = self.records.facts(message, item.agent, per_minute=limits.per_minute, now_ms=now_ms)
        return judge(facts, limits, sender=message.sender, now_ms=now_ms)

    def limited(self, item: Item, verdict: Hold | Refuse) -> None:
        """Tell the event stream that a limit was hit; what was stopped shows in `status` for a while."""
        message = item.message
        if isinstance(verdict, Denied):
            return
        if isinstance(verdict, Hold):
            if verdict.reason is not HoldReason.RATE_LIMITED:
                return
            why = verdict.detail
            self._read_on(item.agent)  # what lies behind it in the mailbox may be from others
        elif verdict.state is State.FAILED:
            why = verdict.reason
            self._hits.append(
                Hit(
                    message=message.id,
                    conversation=message.conversation,
                    sender=message.sender,
                    agent=item.agent,
                    at_ms=self._clock_ms(),
                )
            )
        else:
            return
        self._publish(
            {
                "at_ms": self._clock_ms(),
                "event": "conversation.limited",
                "id": message.id,
                "agent": item.agent,
                "state": "",
                "reason": why,
                "node": self._node,
                "sender": message.sender,
                "conversation": message.conversation,
            }
        )

    def stopped(self) -> list[Hit]:
        """Return the conversations that were stopped lately, the last message of each, oldest first."""
        since_ms = self._clock_ms() - HIT_MS
        return list({hit.conversation: hit for hit in self._hits if hit.at_ms > since_ms}.values())

    def _handed_over(self, message: Message) -> Hold | Refuse | None:
        """Return why an answer is not typed: a program that waits for it has it, or is about to."""
        question = message.reply_to
        if self.records.is_taken(question) and self.records.answer_of(question) == message.id:
            return Refuse(State.ACKNOWLEDGED, "read by the program that waited for it")
        if self._waiting[question]:
            until = self._until.setdefault(question, self._clock() + HAND_OVER_S)
        else:
            until = self._until.get(question, 0.0)
        if self._clock() < until:
            return Hold(HoldReason.BUSY, "a program of the agent's waits for this answer", 0.1)
        return None

    def in_question(self) -> frozenset[AgentId]:
        """Return the agents that may have a task by a message; none if the state file cannot be read now."""
        try:
            return self.records.in_question()
        except StoreFailed:
            return frozenset()

    def current_task(self, agent: AgentId) -> str:
        """Return the id of the task that `agent` works on; empty: none, or the state file cannot be read now."""
        try:
            return self.records.current_task(agent) or ""
        except StoreFailed:
            return ""

    # -- where the question came from --

    @contextlib.contextmanager
    def waiting(self, question: str) -> Iterator[None]:
        """Say that a program waits for the answer; it may take it shortly after the end, if that is no error."""
        self._waiting[question] += 1
        self._until.pop(question, None)
        try:
            yield
        except BaseException:
            self._until.pop(question, None)
            raise
        else:
            self._until = {q: until for q, until in self._until.items() if until > self._clock()}
            self._until[question] = self._clock() + LINGER_S
        finally:
            self._waiting[question] -= 1
            self._waiting += Counter()

    async def arrived(self, item: Item) -> None:
        """Write down that an answer came, and tell its question; before that it is in nobody's hand here."""
        message = item.message
        question, asked_at = message.reply_to, message.headers.get("asked_at", "")
        if message.kind is not Kind.REPLY or not is_ulid(question) or not is_node(asked_at):
            return
        now_ms = self._clock_ms()
        hop = Hop(
            message=MessageId(question),
            at_ms=now_ms,
            node=self._node,
            state=State.REPLIED,
            reason=message.id,
            final=True,
        )
        noted = (
            self._ledger.received(message, item.agent, encode_message(message), now_ms),
            Records.answered(question, message.id, now_ms),
        )
        if asked_at != self._node:
            await self._store.write(*noted)
            self._post(NodeId(asked_at), hop)
        elif self._was_asked(message.sender, hop.message):
            await self._outbox.apply([hop], *noted)
        else:  # not from the one who was asked: a message like any other
            return
        item.written = True

    def _was_asked(self, sender: str, question: MessageId) -> bool:
        """Tell whether `question`, of this node's, was sent to `sender`."""
        mailbox = self._outbox.agent_of(question)
        return mailbox is not None and (not is_agent(sender) if is_box(mailbox) else mailbox == sender)

    def answer(self, question: str) -> Reply:
        """Return the answer to a message of this node's. Raises MessageNotFound."""
        receipt = self._outbox.receipt(MessageId(question))
        given = self.records.answer_of(question)
        entry = self._ledger.find(given) if given is not None else None
        if receipt.state is not State.REPLIED:
            raise MessageNotFound(
                f"no answer to {question} has come yet, it is {receipt.state}.",
                f"See: novactl trace {question}",
            )
        if entry is None:
            raise MessageNotFound(
                f"the answer to {question} is not kept here.", "It went to its sender's pane on another node."
            )
        return Reply(
            id=entry.message.id,
            question=MessageId(question),
            sender=entry.message.sender,
            body=entry.message.body,
            created_ms=entry.message.created_ms,
        )

    async def take(self, question: str) -> Reply:
        """Return the answer and note that it need not be typed any more."""
        found = self.answer(question)
        await self._store.write(Records.taken(question))
        return found

    # -- where the answer comes from --

    async def reply(
        self,
        question_id: str,
        body: str | bytes,
        *,
        message_id: str | None,
        sender: str,
        priority: str,
        max_bytes: int,
    ) -> Receipt:
        """Take over the answer of `sender` to a message that was received here.

        Raises MessageNotFound, NotAllowed, InvalidRequest or Conflict; nothing is stored then.
        """
        question, mailbox = self._received(question_id)
        reply_id = MessageId(message_id or new_ulid(self._clock_ms()))
        given = self.records.answer_of(question.id) or self._answering.get(question.id)
        refused = refusal(
            question,
            to=addressee(question, mailbox),
            sender=sender,
            given=None if given == reply_id else given,
        )
        if refused is not None:
            raise refused
        box = mailbox_for(question)
        now_ms = self._clock_ms()
        reply = compose(
            question.sender or box,
            body,
            now_ms=now_ms,
            message_id=reply_id,
            sender=sender,
            priority=priority,
            kind=Kind.REPLY,
            correlation_id=question.conversation,
            reply_to=question.id,
            headers={
                "origin": self._node,
                "agent": box,
                "asked_at": question.origin,
                "answers": mailbox,
            },
            ttl_s=answer_life_s(question),
            max_bytes=max_bytes,
        )
        self._answering[question.id] = reply_id
        try:
            answered = Records.answered(question.id, reply_id, now_ms)
            return await self._outbox.accept(reply, box, answered, limited=True)
        finally:
            del self._answering[question.id]

    def _received(self, text: str) -> tuple[Message, AgentId]:
        """Return a message that was received here and the mailbox it lay in."""
        if not is_ulid(text):
            raise InvalidRequest(f"{text[:40]!r} is not a message's id.", "It has 26 letters and digits.")
        entry = self._ledger.find(MessageId(text))
        if entry is not None:
            return entry.message, entry.agent
        agent = self._outbox.agent_of(MessageId(text))
        if agent is not None:
            raise Conflict(
                f"message {text} went from here to {agent} and is not there yet; {agent} answers it.",
                f"See: novactl trace {text}",
            )
        raise MessageNotFound(
            f"no message {text} was received at node {self._node}.", "List yours: novactl inbox --unanswered"
        )
