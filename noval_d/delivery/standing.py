"""Say that a message may lose its point before it is typed, because the task that it carries moves. No I/O."""

from __future__ import annotations

from collections.abc import Callable

from nova_torch.values import UNDELIVERED, Message, MessageId, State

BRIDGED_TASK = "bridged_task"
"""Header: the foreign task that a message is, or that its notice is about."""
HAND_OVER = "hand_over"
"""Header: the task of ours that a message gives to its agent, or reminds it of."""
TAKES_BACK = "takes_back"
"""Header of a notice: the message that it takes back."""
MAY_MOVE = frozenset({BRIDGED_TASK, HAND_OVER, TAKES_BACK})
MOVED = "its task was taken back or given to another before it was typed"
OVER = "its task was over before it was typed"
NEVER_TYPED = "the task that it takes back was never typed"


def pointless(message: Message, state_of: Callable[[MessageId], State | None]) -> str:
    """Return why a notice is not to be typed: what it takes back was not, by its state; '' otherwise."""
    taken_back = message.headers.get(TAKES_BACK)
    state = state_of(MessageId(taken_back)) if taken_back else None
    return NEVER_TYPED if state in UNDELIVERED - {State.UNCONFIRMED} else ""
