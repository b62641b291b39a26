"""Who is where: the live nodes with their agents and bridges, as they last beat. Asked now and then."""

from __future__ import annotations

import logging
from collections.abc import Callable

from nova_torch.blobs import Reader
from nova_torch.bridging import Rule
from nova_torch.broker import Broker
from nova_torch.fleet import NodeView
from nova_torch.values import AGENT_ID, AgentId
from noval_d.bridges.address import Station, allowed, recipients

log = logging.getLogger("nova.bridges")

FRESH_S = 5.0
"""As often as nodes beat: a fleet's blobs are too large to be read for every message."""
AT_MOST_EVERY_S = 0.5
"""When somebody is named who is not known."""


class Fleet:
    """The last view of the fleet; this node's own part of it is always what it is now."""

    def __init__(self, local: Callable[[], Station], clock: Callable[[], float]) -> None:
        self._local = local
        self._clock = clock
        self._reader = Reader()
        self._others: tuple[Station, ...] = ()
        self._lost: tuple[Station, ...] = ()
        self._at = float("-inf")

    def __repr__(self) -> str:
        return f"<Fleet {1 + len(self._others)} nodes>"

    async def look(self, broker: Broker, *, again: bool = False) -> tuple[Station, ...]:
        """Return every live node, this one first; `again`: somebody is not known. Raises BrokerUnavailable."""
        me = self._local()
        if self._clock() - self._at >= (AT_MOST_EVERY_S if again else FRESH_S):
            leases = [lease for lease in await broker.nodes() if lease.node != me.name]
            views = self._reader.views(leases)
            for node in self._reader.unreadable:
                log.warning("bridges.unreadable_node", extra={"node": node})
            self._others = tuple(station(view) for view in views if view.alive)
            self._lost = tuple(station(view) for view in views if not view.alive)
            self._at = self._clock()
        return (me, *self._others)

    @property
    def lost(self) -> tuple[Station, ...]:
        """The nodes that were heard of within a day and are not alive, as of the last look."""
        return self._lost


async def find_again(
    broker: Broker, fleet: Fleet, rule: Rule, subject: str, named: str
) -> list[AgentId] | str:
    """Return whom something is for that nobody seemed to be: registered just now, or on a node that is down.

    Raises BrokerUnavailable.
    """
    found = recipients(rule, subject, named, await fleet.look(broker, again=True))
    target = subject or named
    one = rule.to != "all" and "{role}" not in rule.key and AGENT_ID.match(target)
    if isinstance(found, str) and one and allowed(rule.targets, target):
        return [AgentId(target)] if await broker.owner_of(target) is not None else found
    return found


def station(view: NodeView) -> Station:
    """Return a node as bridges know it; one that cannot be read has nothing."""
    agents = {str(record.agent_id): record.role for record in view.agents}
    return Station(name=view.node, agents=agents, bridges=view.bridges)
