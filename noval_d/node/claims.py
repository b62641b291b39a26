"""Which agents' mailboxes are this node's: claimed, taken over, given up, and those that another node has."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from collections.abc import Set as AbstractSet

from nova_torch.broker import Broker, Owner
from nova_torch.errors import KeyUnfit, NotOwner
from nova_torch.values import AgentId, NodeId
from noval_d.failpoints import failpoint

log = logging.getLogger("nova.broker")


class Claims:
    """The mailboxes of this node's agents, as far as the broker has said."""

    def __init__(self, node: NodeId, agents: Callable[[], Iterable[AgentId]]) -> None:
        self._node = node
        self._agents = agents
        self._claimed: set[AgentId] = set()
        self._taken: dict[AgentId, str] = {}
        """The agents whose mailbox another living node has, as far as the broker last said, and its word."""
        self._due: set[AgentId] = set()
        """The agents whose mailboxes are still to be claimed by the beat that is under way."""
        self._leaving: set[AgentId] = set()
        """Those whose mailboxes are given up, and the broker has not heard of it yet."""
        self._claiming = asyncio.Lock()
        """One claim at a time: a beat and a registration that take over one mailbox would refuse each other."""
        self._on_taken: list[Callable[[AgentId], Awaitable[None]]] = []
        self._on_claimed: list[Callable[[AgentId], None]] = []

    def __repr__(self) -> str:
        return f"<Claims of {self._node} claimed={len(self._claimed)} taken={','.join(self._taken)}>"

    def __len__(self) -> int:
        return len(self._claimed)

    def __contains__(self, agent: AgentId) -> bool:
        """Tell whether the broker took this node's claim on the agent's mailbox."""
        return agent in self._claimed

    def on_taken(self, callback: Callable[[AgentId], Awaitable[None]]) -> None:
        """Call (and await) `callback` with each agent that this node has and another one serves now."""
        self._on_taken.append(callback)

    def on_claimed(self, callback: Callable[[AgentId], None]) -> None:
        """Call `callback` with each agent whose mailbox has become this node's."""
        self._on_claimed.append(callback)

    @property
    def theirs(self) -> AbstractSet[AgentId]:
        """The agents that another node has had since this one was away."""
        return self._taken.keys()

    def taken(self, agent: AgentId) -> bool:
        """Tell whether another node has had the agent since this one was away."""
        return agent in self._taken

    def taken_by(self, agent: AgentId) -> str:
        """Return the sentence that says which node has the agent, or nothing."""
        return self._taken.get(agent, "")

    def void(self, agent: AgentId | None = None) -> None:
        """Hold the claim on this mailbox for lost, or every one: it is claimed anew."""
        if agent is None:
            self._claimed.clear()
        else:
            self._claimed.discard(agent)

    def forget(self, agent: AgentId) -> None:
        """The agent is this node's no more."""
        self._claimed.discard(agent)
        self._due.discard(agent)
        self._taken.pop(agent, None)

    async def claim(self, broker: Broker, owner: Owner, agent: AgentId) -> None:
        """Claim a mailbox, also one of a node whose lease is over. Raises NotOwner when that still holds."""
        self._leaving.discard(agent)
        async with self._claiming:
            await self._claim(broker, owner, agent)

    async def release(self, broker: Broker | None, owner: Owner | None, agent: AgentId) -> None:
        """Give a mailbox up for good, now or, while the broker does not answer, with the next claims.

        Else nobody would read what comes into it, and no other node could have it. Raises BrokerUnavailable, and
        NotOwner when another node has it.
        """
        self.forget(agent)
        self._leaving.add(agent)
        if broker is not None and owner is not None:
            await self._release(broker, owner, agent)

    async def _release(self, broker: Broker, owner: Owner, agent: AgentId) -> None:
        async with self._claiming:  # behind a claim of it that is under way
            if agent not in self._leaving:  # it is registered again
                return
            self.forget(agent)
            try:
                held = await broker.owner_of(agent)
                if held is not None and held.node == self._node:
                    await broker.claim(agent, owner)  # it may be this node's as of an earlier epoch
                await broker.release(agent, owner, drop=True)
            except NotOwner:
                self._leaving.discard(agent)
                raise
            self._leaving.discard(agent)

    async def _claim(self, broker: Broker, owner: Owner, agent: AgentId) -> None:
        failpoint("claim.before")
        try:
            await broker.claim(agent, owner)
        except NotOwner as error:
            other = await broker.owner_of(agent)
            if other is None or other.node == self._node:
                raise
            if await broker.alive(other.node):
                raise NotOwner(f"{agent} is served by node {other.node}.", error.hint) from None
            await broker.claim(agent, owner, over=other)
            log.warning("broker.taken_over", extra={"agent": agent, "of": other.node})
        failpoint("claim.after")
        self._taken.pop(agent, None)
        self._claimed.add(agent)
        for callback in self._on_claimed:
            callback(agent)

    async def claim_all(
        self, broker: Broker, owner: Owner, unfit: Callable[[Iterable[AgentId]], None]
    ) -> None:
        """Claim the mailboxes that are not this node's yet; `unfit` hears of those with keys of another type."""
        agents = list(self._agents())
        self._leaving.difference_update(agents)  # registered again
        for agent in tuple(self._leaving):
            try:
                await self._release(broker, owner, agent)
            except KeyUnfit:
                unfit([agent])
            except NotOwner as error:
                log.warning("broker.release_refused", extra={"agent": agent, "problem": error.message})
        due = [agent for agent in agents if agent not in self._claimed]
        self._due = set(due)
        for agent in due:
            try:
                async with self._claiming:
                    if agent in self._due:  # else it was unregistered meanwhile
                        await self._claim(broker, owner, agent)
            except KeyUnfit:
                unfit([agent])
            except NotOwner as error:
                if self._taken.get(agent) != error.message:
                    log.warning("broker.claim_refused", extra={"agent": agent, "problem": error.message})
                self._taken[agent] = error.message
                for taken in self._on_taken:
                    await taken(agent)
