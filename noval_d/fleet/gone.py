"""Settle what waits for the agents of a node that is gone for good, so that it does not lie there for ever."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nova_torch.broker import Broker, Owner
from nova_torch.errors import InvalidRequest
from nova_torch.values import AgentId, State
from noval_d.delivery.item import Item
from noval_d.mailroom.seals import Unproven

if TYPE_CHECKING:
    from noval_d.node.node import Node

log = logging.getLogger("nova.fleet")


async def waiting_for(broker: Broker, name: str, agents: Sequence[AgentId]) -> dict[AgentId, int]:
    """Return how many messages wait for each of `agents` that node `name` owns still, if any do."""
    found: dict[AgentId, int] = {}
    for agent in agents:
        owner = await broker.owner_of(agent)
        if owner is not None and owner.node == name:
            found[agent] = 0
    counts = await broker.backlog(list(found))
    return {agent: counts[agent] for agent in found if counts[agent]}


async def give_up_all(node: Node, name: str, agents: Sequence[AgentId], why: str) -> int:
    """Give up what waits for these agents of node `name`; return how many messages. Senders are told.

    What the node had read may have been typed before it went: that is unconfirmed, the rest failed.
    """
    broker = node.broker.broker
    given_up = 0
    if broker is None:
        return given_up
    for agent in agents:
        theirs = await broker.owner_of(agent)
        if theirs is None or theirs.node != name:
            continue  # it lives elsewhere by now
        # still by its name: what is broken off here is found and gone on with when it is ordered again
        owner = Owner(node=name, epoch=theirs.epoch + 1)
        await broker.claim(agent, owner, over=theirs)
        async for page in broker.pending_pages(agent, owner):
            for entry in page:
                given_up += await _settle(node, agent, entry.payload, State.UNCONFIRMED, why)
        while entries := await broker.read(agent, owner, count=64):
            for entry in entries:
                given_up += await _settle(node, agent, entry.payload, State.FAILED, why)
        await broker.release(agent, owner, drop=True)
    return given_up


async def _settle(node: Node, agent: AgentId, payload: bytes, state: State, why: str) -> int:
    try:
        message = node.guard.seals.opened(payload, agent)
    except (InvalidRequest, Unproven):
        return 0
    await node.desk.settle(Item(message=message, agent=agent, arrival=0), state, why)
    return 1
