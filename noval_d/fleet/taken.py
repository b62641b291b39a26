"""Leave an agent to the node that serves it by now: what was not typed here is typed there."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from nova_torch.errors import StoreFailed
from nova_torch.values import AgentId
from noval_d.mailroom.ledger import Ledger

if TYPE_CHECKING:
    from noval_d.node.node import Node

log = logging.getLogger("nova.node")


async def let_go(node: Node, agent: AgentId) -> None:
    """Leave to another node what was not typed here: it lies in the mailbox, or is sent there."""
    worker = node.roster.workers.get(agent)
    items = worker.take_all() if worker is not None else []
    if not items:
        return
    log.warning("agent.taken_over", extra={"agent": agent, "messages": len(items)})
    try:
        await node.store.write(*(Ledger.let_go(item.message.id) for item in items))
        await node.outbox.resend([item.message.id for item in items])
    except StoreFailed as error:
        log.warning("node.not_let_go", extra={"agent": agent, "problem": error.message})
