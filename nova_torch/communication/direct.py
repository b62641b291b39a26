"""Where receipts and answers of a message without a daemon come back to, and what they add up to.

The place follows from the first letters of the message's id: any process that knows the id finds it, and a
broadcast, whose members share them, has one place for all its receipts.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from nova_torch.broker import Broker, Owner
from nova_torch.codec import decode_signed_hop
from nova_torch.communication.group import SHARED
from nova_torch.errors import InvalidRequest, MessageNotFound
from nova_torch.signing import Keyring
from nova_torch.ulid import is_ulid
from nova_torch.values import UNDELIVERED, AgentId, Hop, Kind, Message, MessageId, NodeId, Receipt, State

TIMED = (State.QUEUED, State.TYPED, State.SUBMITTED, State.ACKNOWLEDGED, State.REPLIED)
PREFIX = "lib-"
LOOK_S = 2.0
EPOCH = 1
"""One for all: whoever knows the id may read, one process after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Names in the broker: `node` gets the receipts, `box` the answer."""

    node: NodeId
    box: AgentId

    @classmethod
    def of(cls, message_id: str) -> Endpoint:
        """Return the place of a message. Raises InvalidRequest when the id is no ULID."""
        if not is_ulid(message_id):
            raise InvalidRequest(
                f"{message_id[:40]!r} is not a message's id.", "It has 26 letters and digits."
            )
        return cls(node=NodeId(f"{PREFIX}{message_id[:SHARED]}"), box=AgentId(f"@{PREFIX}{message_id}"))

    @property
    def owner(self) -> Owner:
        """Who reads the box."""
        return Owner(node=self.node, epoch=EPOCH)

    def headers(self, agent: str, *, answers_s: int) -> dict[str, str]:
        """Return what a message says of the way back. An answer is given up after `answers_s`: nobody is left."""
        return {"origin": self.node, "agent": agent, "answers": self.box, "answers_s": str(answers_s)}


class Mailbag:
    """The receipts that came back to one place, read by whoever of its followers is first.

    With a `keyring` only those that a node of the fleet signed.
    """

    def __init__(self, node: NodeId, keyring: Keyring | None = None) -> None:
        self.node = node
        self._keyring = keyring
        self.hops: list[Hop] = []
        self._after = "0-0"
        self._lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Mailbag {self.node} hops={len(self.hops)}>"

    async def more(self, broker: Broker, seen: int, wait_s: float, readers: asyncio.Semaphore) -> list[Hop]:
        """Return the hops behind the first `seen`; wait up to `wait_s` when there are none."""
        async with self._lock:
            if len(self.hops) == seen:
                async with readers:
                    mail = await broker.mail(self.node, block_s=wait_s, after=self._after)
                self.hops += [hop for piece in mail if (hop := self._read(piece.payload)) is not None]
                self._after = mail[-1].entry_id if mail else self._after
            return self.hops[seen:]

    def _read(self, raw: bytes) -> Hop | None:
        """Return a receipt that can be read and, with a keyring, is signed."""
        try:
            hop, signature = decode_signed_hop(raw)
        except InvalidRequest:
            return None
        if self._keyring is not None and self._keyring.check_receipt(hop, signature, self.node):
            return None
        return hop


class Losses:
    """Counts how often a broker has lost its data, or was merely restarted, as far as somebody looks."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._generation = ""
        self._looked_at = float("-inf")
        self.count = 0

    def __repr__(self) -> str:
        return f"<Losses {self.count}>"

    async def look(self, now: float) -> int:
        """Return how many there were, no older than LOOK_S. Raises BrokerUnavailable."""
        if now - self._looked_at >= LOOK_S:
            generation = await self._broker.generation()
            self.count += self._generation not in ("", generation)
            self._generation, self._looked_at = generation, now
        return self.count


def first_receipt(message: Message, node: NodeId, *, now_ms: int) -> Receipt:
    """Return the receipt of a message that was just put into its agent's mailbox."""
    return Receipt(
        id=message.id,
        target=message.target,
        state=State.QUEUED,
        agent=AgentId(message.target),
        node=node or None,
        timings_ms={State.QUEUED.value: max(0, now_ms - message.created_ms)},
    )


def own_hop(message_id: MessageId, node: NodeId, now_ms: int) -> Hop:
    """Return what the sender tells of a message in the mailbox, for who asks before a node tells more."""
    return Hop(message=message_id, at_ms=now_ms, node=node, state=State.QUEUED)


def applied(receipt: Receipt | None, hop: Hop) -> Receipt:
    """Return what is known after `hop`, as an outbox would have it.

    The sender's own word counts until a node has told anything; the two may come in any order. A final state is
    left only when its owner says `queued` (it was ordered again) or an answer has come.
    """
    if hop.node == Endpoint.of(hop.message).node:
        return receipt or Receipt(id=hop.message, target="", state=State.QUEUED)
    known = receipt or Receipt(id=hop.message, target="", state=State.QUEUED)
    reopened = hop.state is State.QUEUED and known.state in UNDELIVERED
    if known.final and not reopened and hop.state is not State.REPLIED:
        return known
    since_ms = ulid_ms(known.id)
    timed = {hop.state.value: max(0, hop.at_ms - since_ms)} if hop.state in TIMED else {}
    return replace(
        known,
        state=hop.state,
        reason=hop.reason,
        node=hop.node,
        final=hop.final,
        timings_ms={**timed, **known.timings_ms},
    )


def no_answer(message_id: str) -> MessageNotFound:
    """Return the error for a question whose answer is not there, or not yet."""
    return MessageNotFound(
        f"no answer to {message_id} is at the broker.",
        "It may still come; if it was asked through a daemon, that one keeps the answer: novactl up",
    )


def no_receipt(message_id: str) -> MessageNotFound:
    """Return the error for a message of which no node has told anything."""
    return MessageNotFound(
        f"no receipt of {message_id} has come back to the broker.",
        "If it was sent through a daemon, ask that one: novactl up",
    )


def ulid_ms(message_id: MessageId) -> int:
    """Return the time in a ULID, ms since the epoch."""
    from nova_torch.ulid import ALPHABET

    number = 0
    for letter in message_id[:10]:
        number = number * 32 + ALPHABET.index(letter)
    return number


def was_asked(answer: Message, question_id: str, target: str | None) -> bool:
    """Tell whether `answer` is that of the agent that was asked (any agent, when `target` is not known)."""
    return (
        answer.kind is Kind.REPLY
        and answer.reply_to == question_id
        and (target is None or answer.sender == target)
    )
