"""The postbox of the node's own orchestrator: hand a message in, answer one, follow one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from nova_torch.communication import is_over
from nova_torch.values import AgentId, Hop, Message, MessageId, Receipt, Reply
from noval_d.control.hub import Hub
from noval_d.mailroom.outbox import Outbox
from noval_d.talk.talk import Talk


class NodePostbox:
    """A Postbox that is this node itself."""

    def __init__(
        self, outbox: Outbox, talk: Talk, hops: Hub[tuple[Hop, AgentId]], *, max_bytes: Callable[[], int]
    ) -> None:
        self._outbox = outbox
        self._talk = talk
        self._hops = hops
        self._max_bytes = max_bytes

    async def post(self, message: Message) -> Receipt:
        """Take a composed message into the outbox."""
        return await self._outbox.accept(message, AgentId(message.headers["agent"]), limited=True)

    async def answer(self, message_id: str) -> Reply:
        """Return the answer to a message of this node's."""
        return self._talk.answer(message_id)

    async def reply(
        self, question_id: str, body: str | bytes, *, message_id: str | None, sender: str, priority: str
    ) -> Receipt:
        """Take the answer to a message into the outbox."""
        limit = self._max_bytes()
        return await self._talk.reply(
            question_id, body, message_id=message_id, sender=sender, priority=priority, max_bytes=limit
        )

    async def follow(self, message_id: str, *, replied: bool = False) -> AsyncIterator[Receipt]:
        """Yield the receipt of a message and every change of it, until it is over."""
        with self._hops.subscribe(lambda pair: pair[0].message == message_id) as changes:
            receipt = self._outbox.receipt(MessageId(message_id))
            yield receipt
            if is_over(receipt, replied=replied):
                return
            async for _ in changes:
                receipt = self._outbox.receipt(MessageId(message_id))
                yield receipt
                if is_over(receipt, replied=replied):
                    return
