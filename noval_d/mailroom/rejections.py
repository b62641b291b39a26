"""Refuse what its agent's node would not take unsigned; tell and hear of what was not taken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from nova_torch.keys import is_name
from nova_torch.rejections import meant, refusal, rejection
from nova_torch.values import AgentId, Hop, Message, NodeId
from noval_d.mailroom.ledger import Ledger, Phase
from noval_d.mailroom.outbox import Outbox
from noval_d.mailroom.seals import Seals
from noval_d.talk.pigeonhole import Hand


class Rejections:
    """Both ends of it. `strict` names the node of a mailbox, if it demands keys; `answer` sends it a receipt."""

    def __init__(
        self,
        node: NodeId,
        *,
        ledger: Ledger,
        outbox: Outbox,
        seals: Seals,
        workers: Mapping[AgentId, Hand],
        strict: Callable[[AgentId], Awaitable[str]],
        clock_ms: Callable[[], int],
        answer: Callable[[NodeId, Hop], None],
    ) -> None:
        self._node = node
        self._ledger = ledger
        self._outbox = outbox
        self._seals = seals
        self._workers = workers
        self._strict = strict
        self._clock_ms = clock_ms
        self._answer = answer

    async def demand(self, mailbox: AgentId) -> None:
        """Raise NotAllowed when the node of `mailbox` takes only what is signed, and this one has no key.

        A node with a key is never refused so: nobody who writes false cards can keep it from sending.
        """
        if not self._seals.signs and mailbox not in self._workers and (node := await self._strict(mailbox)):
            raise refusal(node)

    def tell(self, message: Message, payload: bytes, why: str) -> None:
        """Tell the node that an entry names as its sender's that these bytes were not taken.

        Of a message that is settled here its own sender is told how, whoever wrote this entry: the keys may have
        come after it was typed, and before its receipt was there.
        """
        known = self._ledger.find(message.id)
        if known is None:
            if is_name(message.origin) and message.origin != self._node:
                self._answer(message.origin, rejection(message, payload, why, self._node, self._clock_ms()))
        elif known.phase is Phase.SETTLED and known.message.origin != self._node:
            self._answer(known.message.origin, known.verdict(self._node, self._clock_ms()))

    def heard(self, hop: Hop) -> Hop | None:
        """Return what a receipt means here: itself, or what a rejection means to a message of ours, if anything."""
        if not hop.of:
            return hop
        out = self._outbox.unsettled(hop.message)
        worker = self._workers.get(out.agent) if out is not None else None
        if out is None or (worker is not None and worker.find(out.message.id) is not None):
            return None  # final, or in this node's own hands
        means = meant(
            hop,
            out.state,
            self._seals.message(out.message, out.envelope),
            signs=self._seals.signs,
            owners=[known.node for known in self._outbox.hops(hop.message)],
            here=self._node,
        )
        return None if means is not None and means.reason == out.reason else means
