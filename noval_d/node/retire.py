"""Take an agent off the node: unregister it and say of each of its messages what becomes of it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nova_torch.errors import BrokerUnavailable, NotOwner, TmuxUnavailable
from nova_torch.values import State
from noval_d.mailroom.ledger import Phase

if TYPE_CHECKING:
    from noval_d.node.node import Node

log = logging.getLogger("nova.node")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retired:
    """What became of the messages of an agent that is registered no longer."""

    failed: int
    """Never typed, given up."""
    submitted: int
    unconfirmed: int


async def retire(node: Node, agent_id: str, why: str) -> Retired:
    """Unregister an agent; what was not typed fails, what may be typed is unconfirmed. Raises AgentNotFound."""
    try:
        client = node.tmux.client
    except TmuxUnavailable:
        client = None
    agent, worker = await node.roster.unregister(agent_id, client)
    node.crew.end(agent.id)
    untyped = worker.take_all()
    for item in untyped:
        await node.desk.settle(item, State.FAILED, why)
    proven = [item for item in worker.items if item.phase is Phase.ENTERED]
    unproven = [item for item in worker.items if item.phase is not Phase.ENTERED]
    for item in proven:
        await node.desk.settle(item, State.SUBMITTED, why)
    for item in unproven:
        await node.desk.settle(item, State.UNCONFIRMED, why)
    waiting = await node.inbox.drain(agent.id, why)
    try:
        await node.broker.release(agent.id)
    except (BrokerUnavailable, NotOwner) as error:
        log.warning("node.not_released", extra={"agent": agent.id, "problem": error.message})
    waiting += await node.dispatch.fail_all(agent.id, why)
    return Retired(failed=len(untyped) + waiting, submitted=len(proven), unconfirmed=len(unproven))


async def claim(node: Node, agent_id: str) -> None:
    """Take the mailbox of a registered agent, now or with the next connection to the broker."""
    agent = node.roster.get(agent_id)
    try:
        await node.broker.claim(agent.id)
    except BrokerUnavailable as error:
        node.broker.failed(error)  # until then it is reached directly
    node.inbox.recheck(pending=True)
    node.schedules.together()
