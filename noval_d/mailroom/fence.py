"""Decide whether this node may type a message now, and mark in its mailbox that it is about to.

What a node types although another one may read it later is marked in the mailbox first, under the fence of the
owner: whoever owns the mailbox then finds the mark and reports the message instead of typing it. A message of this
node's own outbox, that it put into a mailbox of its own, carries the mark from the beginning, so that it needs no
broker to be typed.
"""

from __future__ import annotations

import logging

from nova_torch.errors import BrokerUnavailable, MailboxLost, NotOwner
from nova_torch.values import NodeId
from noval_d.delivery.item import Item
from noval_d.mailroom.outbox import Outbox
from noval_d.node.link import BrokerLink

log = logging.getLogger("nova.fence")


class Fence:
    """What keeps two nodes from typing one message."""

    def __init__(self, node: NodeId, link: BrokerLink, outbox: Outbox) -> None:
        self._node = node
        self._link = link
        self._outbox = outbox

    def __repr__(self) -> str:
        return f"<Fence {self._node} {self._link!r}>"

    def open(self, item: Item) -> bool:
        """Tell whether the message may be typed, as far as is known without asking the broker."""
        link = self._link
        if link.superseded or link.taken(item.agent):
            return False
        if link.broker is None:
            return self.own(item)
        return link.lease_ok and link.claimed(item.agent)

    def own(self, item: Item) -> bool:
        """Tell whether it is this node's own, and in no mailbox that another one has had."""
        return item.message.origin == self._node and self._outbox.here(item.message.id)

    async def begin(self, item: Item) -> None:
        """Make the mark. Raises NotOwner, MailboxLost, BrokerUnavailable: then it must not be typed."""
        if not self.open(item):
            raise NotOwner(f"{item.agent} may be another node's now.", "See: novactl status")
        broker, owner = self._link.broker, self._link.owner
        if broker is None or owner is None:
            raise BrokerUnavailable("the broker is away.", "What came from other nodes waits for it.")
        try:
            await broker.hold(item.agent, owner, item.message.id)
        except BrokerUnavailable as error:
            self._link.failed(error)
            raise
        except (NotOwner, MailboxLost):
            self._link.claim_again(item.agent)
            raise

    async def undo(self, item: Item) -> None:
        """Take the mark away: nothing was typed. When that fails, a later owner reports what it need not."""
        broker, owner = self._link.broker, self._link.owner
        if self.own(item) or broker is None or owner is None:
            return
        try:
            await broker.hold(item.agent, owner, item.message.id, typing=False)
        except (BrokerUnavailable, NotOwner, MailboxLost) as error:
            log.info("fence.mark_stays", extra={"message_id": item.message.id, "problem": error.message})
