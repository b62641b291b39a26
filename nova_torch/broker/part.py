"""What every part of the broker's facade stands on: the connection and the keys."""

from __future__ import annotations

from collections.abc import Sequence

from nova_torch.broker import scripts
from nova_torch.broker.connection import Link
from nova_torch.errors import MailboxLost, NotOwner
from nova_torch.keys import Keys


class Part:
    """A part of the facade. Its methods raise BrokerUnavailable when the broker does not answer."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys


def check(words: Sequence[bytes], what: str) -> None:
    """Raise what a script's first word refuses: NotOwner or MailboxLost."""
    if words[0] == scripts.NOT_OWNER:
        raise NotOwner(
            f"{what} is owned by {words[1].decode(errors='replace').replace('|', ' as of epoch ')}."
        )
    if words[0] == scripts.LOST:
        raise MailboxLost(f"the broker has no mailbox of {what}.", "Its node claims it again.")
