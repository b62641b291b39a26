"""What a message is handed in at, and when a sender has waited long enough. Pure."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from nova_torch.errors import InvalidRequest
from nova_torch.values import UNDELIVERED, Message, Receipt, Reply, State

WAITS: Mapping[str, frozenset[State]] = {
    "submitted": frozenset({State.SUBMITTED, State.ACKNOWLEDGED, State.REPLIED}),
    "acknowledged": frozenset({State.ACKNOWLEDGED, State.REPLIED}),
    "replied": frozenset({State.REPLIED}),
}


class Postbox(Protocol):
    """Where messages are handed in and followed."""

    async def post(self, message: Message) -> Receipt:
        """Take the message over durably; return its receipt. The same id again is the same message."""

    def follow(self, message_id: str, *, replied: bool = False) -> AsyncIterator[Receipt]:
        """Yield the present receipt, then every change, and end after the final one.

        With `replied` a proven delivery is not the end: an answer may follow it.
        """

    async def answer(self, message_id: str) -> Reply:
        """Return the answer that came to a message. Raises MessageNotFound when none has come yet."""

    async def reply(
        self, question_id: str, body: str | bytes, *, message_id: str | None, sender: str, priority: str
    ) -> Receipt:
        """Answer a message that `sender` was sent. The same `message_id` again is the same answer."""


def satisfies(receipt: Receipt, wait: str) -> bool:
    """Tell whether `receipt` is what a sender who waits for `wait` waits for, or as far as it will ever get.

    Raises InvalidRequest when `wait` is none of submitted, acknowledged, replied.
    """
    check_wait(wait)
    return is_over(receipt, replied=wait == "replied") or receipt.state in WAITS[wait]


def check_wait(wait: object) -> None:
    """Raise InvalidRequest when `wait` is no state that can be waited for."""
    if not isinstance(wait, str) or wait not in WAITS:
        raise InvalidRequest(f"{wait!r} cannot be waited for.", f"One of: {', '.join(WAITS)}.")


def is_over(receipt: Receipt, *, replied: bool = False) -> bool:
    """Tell whether nothing more will come: it is final, and with `replied` no answer can follow either."""
    if replied:
        return receipt.final and (receipt.state is State.REPLIED or receipt.state in UNDELIVERED)
    return receipt.final
