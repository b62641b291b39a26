"""A mailbox that a beat and a registration claim at the same moment is claimed, and nobody's refusal stays."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from nova_torch.broker import Broker, Owner
from nova_torch.errors import NotOwner
from nova_torch.login import NOBODY
from nova_torch.values import AgentId, NodeId
from noval_d.fleet.saying import Saying
from noval_d.node.claims import Claims
from noval_d.node.link import BrokerLink, since_boot
from tests.support.aio import run

HERE = Owner(node=NodeId("here"), epoch=2)
DEAD = Owner(node=NodeId("dead"), epoch=1)
AGENT = AgentId("a")


class OfADeadNode:
    """A broker with one mailbox, of a node whose lease is over. Each answer lets the other caller go first."""

    def __init__(self) -> None:
        self.owner = DEAD

    async def claim(self, _agent: AgentId, owner: Owner, over: Owner | None = None) -> None:
        await asyncio.sleep(0)
        if self.owner not in (owner, over):
            raise NotOwner(f"it is owned by {self.owner.node}.", "")
        self.owner = owner
        await asyncio.sleep(0)

    async def owner_of(self, _agent: AgentId) -> Owner:
        await asyncio.sleep(0)
        return self.owner

    async def alive(self, _node: NodeId) -> bool:
        await asyncio.sleep(0)
        return False


def test_a_beat_and_a_registration_that_take_over_the_same_mailbox_do_not_refuse_each_other() -> None:
    async def scenario(later: int) -> None:
        claims, broker = Claims(NodeId("here"), lambda: [AGENT]), cast("Broker", OfADeadNode())

        async def registration() -> None:
            for _ in range(later):
                await asyncio.sleep(0)
            await claims.claim(broker, HERE, AGENT)

        def unfit(agents: Any) -> None:
            raise AssertionError(agents)

        await asyncio.gather(claims.claim_all(broker, HERE, unfit), registration())
        assert AGENT in claims
        assert not claims.taken(AGENT), f"{later} steps later: {claims.taken_by(AGENT)}"

    for later in range(12):
        run(scenario(later))


class OfNobody:
    """A broker with two mailboxes that nobody has yet. Each answer lets the other caller go first."""

    def __init__(self) -> None:
        self.owners: dict[AgentId, Owner] = {}

    async def claim(self, agent: AgentId, owner: Owner, over: Owner | None = None) -> None:
        await asyncio.sleep(0)
        self.owners[agent] = owner
        await asyncio.sleep(0)

    async def owner_of(self, agent: AgentId) -> Owner | None:
        await asyncio.sleep(0)
        return self.owners.get(agent)

    async def release(self, agent: AgentId, _owner: Owner, *, drop: bool) -> int:
        await asyncio.sleep(0)
        self.owners.pop(agent, None)
        await asyncio.sleep(0)
        return 0


def test_an_agent_that_is_unregistered_while_mailboxes_are_claimed_leaves_none_behind() -> None:
    async def scenario(later: int) -> None:
        agents, broker = [AgentId("first"), AGENT], OfNobody()
        link = BrokerLink(
            node=NodeId("here"), url="", prefix="nova", login=lambda: NOBODY, lease_s=20, beat_s=5, keeper=None,
            saying=Saying(bytes, tuple), agents=lambda: agents, clock=since_boot,
        )  # fmt: skip
        link.broker, link.owner = cast("Broker", broker), HERE

        async def unregistration() -> None:
            for _ in range(later):
                await asyncio.sleep(0)
            agents.remove(AGENT)
            await link.release(AGENT)

        await asyncio.gather(link.claims.claim_all(link.broker, HERE, cast("Any", None)), unregistration())
        assert broker.owners == {AgentId("first"): HERE}, f"{later} steps later"
        assert AGENT not in link.claims

    for later in range(16):
        run(scenario(later))
