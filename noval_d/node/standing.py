"""Say why a message of a task is not to be typed any more, whichever kind of task it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nova_torch.values import Message, MessageId, State
from noval_d.delivery.standing import TAKES_BACK, pointless

if TYPE_CHECKING:
    from noval_d.node.node import Node


async def overtaken(node: Node, message: Message) -> str:
    """Return why a message that was not typed yet is not to be typed any more; '' for one that is."""

    def state_of(taken_back: MessageId) -> State | None:
        known = node.ledger.find(taken_back)
        return known.state if known is not None else None

    if TAKES_BACK in message.headers:  # a notice stands whatever becomes of the task
        return pointless(message, state_of)
    return await node.tasks.overtaken(message) or await node.bridges.overtaken(message)
