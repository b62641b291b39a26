"""Say whether a bridged message is still meant for its agent when its turn to be typed comes: tasks move."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from nova_torch.values import Message
from noval_d.bridges.tasks import latest
from noval_d.delivery.standing import BRIDGED_TASK, MOVED

Moves = Callable[[str], Awaitable[Mapping[str, str] | None]]


async def overtaken(message: Message, moves: Moves) -> str:
    """Return why a message that was not typed yet is not to be typed any more; '' for one that is.

    `moves` returns the moves of a task, None when the broker cannot be asked: then the message goes on, and the
    notice behind it tells its agent.
    """
    task = message.headers.get(BRIDGED_TASK)
    found = await moves(task) if task else None
    counts = latest(found) if found else None
    return MOVED if counts is not None and counts != message.id else ""
