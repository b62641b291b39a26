"""What this node knows of the other nodes. Reads the registry when asked, at most a few times a second."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

import msgpack

from nova_torch.blobs import Reader
from nova_torch.broker import NodeLease
from nova_torch.errors import BrokerUnavailable
from nova_torch.fleet import NodeView
from nova_torch.rejections import REQUIRE
from nova_torch.values import AgentId, AgentRecord, NodeId
from noval_d.node.link import BrokerLink

log = logging.getLogger("nova.fleet")

FRESH_S = 0.2
"""Who asks again sooner gets the same answer: a fleet of 10,000 agents is 4 MB."""
AT_ONCE = 30
"""So many nodes are read before others have their turn: a thousand agents that changed take 5 ms."""
SIGNING_FRESH_S = 5.0
"""How old the word of a node may be that it takes what is not signed."""


class Others:
    """The other nodes as they last told of themselves."""

    def __init__(self, node: NodeId, link: BrokerLink, clock: Callable[[], float]) -> None:
        self._node = node
        self._link = link
        self._clock = clock
        self._reader = Reader()
        self._views: tuple[NodeView, ...] = ()
        self.ordered = b""
        """What this node itself was ordered to do, at the last look."""
        self.blind = True
        """Whether the last look saw nothing: the broker was down, or had lost the registry."""
        self._at = float("-inf")
        self._outdated = False
        """Whether something changed since the last look began."""
        self._strict = False
        """Whether any of them took only what is signed."""
        self._asking = asyncio.Lock()
        self._met: set[AgentId] = set()
        """Agents that were met since the last look; while the registry fills again, also those of before."""
        self._refilled_at = float("-inf")

    def __repr__(self) -> str:
        return f"<Others {len(self._views)} nodes>"

    async def views(self, *, fresh_s: float = FRESH_S) -> tuple[NodeView, ...]:
        """Return the other nodes, no older than `fresh_s`; none while the broker is down."""
        async with self._asking:
            if self._clock() - self._at < fresh_s and self._link.broker is not None:
                return self._views
            self.blind = True
            broker = self._link.broker
            if broker is None:
                return ()
            self._outdated = False
            try:
                leases = await broker.nodes()
            except BrokerUnavailable as error:
                self._link.failed(error)
                return ()
            mine = [lease for lease in leases if lease.node == self._node]
            if not mine:
                self._link.beat_soon()  # we are not in it ourselves: the registry was lost
                return ()
            self.blind = False
            self.ordered = mine[0].order
            others = [lease for lease in leases if lease.node != self._node]
            if self._clock() < self._refilled_at:
                self._met.update(self.names)
            else:
                self._met.clear()
            for n, _ in enumerate(filter(self._reader.take, others), 1):
                if n % AT_ONCE == 0:
                    await asyncio.sleep(0)
            unreadable = self._reader.unreadable
            self._views = tuple(map(self._seen, others, self._reader.views(others)))
            for node in self._reader.unreadable - unreadable:
                log.warning("fleet.unreadable_node", extra={"node": node})
            self._at = float("-inf") if self._outdated else self._clock()
            self._strict = bool(self.strict_nodes)
            return self._views

    @property
    def names(self) -> frozenset[AgentId]:
        """The agents of the nodes that lived at the last look, and those that were met since."""
        return frozenset(self._met.union(*self._living()))

    def _living(self) -> list[Mapping[AgentId, AgentRecord]]:
        return [view.by_name for view in self._views if view.alive]

    async def strict(self, mailbox: AgentId) -> str:
        """Return the living node that has `mailbox` and takes only what is signed; '' when there is none."""
        if not self._anybody_strict():
            return ""
        node = ""
        for fresh_s in (SIGNING_FRESH_S, FRESH_S):  # nothing is refused for what was so a moment ago
            views = await self.views(fresh_s=fresh_s)
            name = mailbox.removeprefix("@")
            if mailbox == name:
                boxes = (view for view in reversed(self._views) if view.alive and mailbox in view.by_name)
            else:
                boxes = (view for view in views if view.alive and view.node == name)
            view = next(boxes, None)
            if view is None or view.card.signing != REQUIRE:
                return ""
            node = view.node
        return node

    def _anybody_strict(self) -> bool:
        """Tell whether a living node may take only what is signed, as of the last beat, or the last look.

        Asked for each message that is accepted. What is accepted too late is rejected by that node.
        """
        if self._link.broker is None:
            return False
        return self._link.demanding > 0 or self._strict

    def lost(self) -> None:
        """The broker lost the registry: the others need a beat to be in it again."""
        self.stale()
        self._refilled_at = self._clock() + self._link.pace.lease_s

    async def has(self, agent: AgentId) -> bool:
        """Tell whether a node has claimed the mailbox of `agent`, be that node away right now. One short question.

        While the broker is down, or fills again: whether it was there last.
        """
        broker = self._link.broker
        if broker is not None:
            try:
                owned = await broker.owner_of(agent) is not None
            except BrokerUnavailable as error:
                self._link.failed(error)
            else:
                if owned:
                    self._met.add(agent)
                if owned or self._clock() >= self._refilled_at:
                    return owned
        return agent in self._met or any(agent in names for names in self._living())

    async def mute(self, node: str) -> bool:
        """Tell whether a node says that it signs nothing."""
        return any(view.node == node and view.card.signs is False for view in await self.views())

    @property
    def strict_nodes(self) -> list[str]:
        """The nodes that lived at the last look and take only what is signed."""
        return [view.node for view in self._views if view.alive and view.card.signing == REQUIRE]

    def stale(self) -> None:
        """Read anew when asked next: this node has changed something itself. So is a look that goes on."""
        self._at = float("-inf")
        self._outdated = True

    def _seen(self, lease: NodeLease, view: NodeView) -> NodeView:
        # After a pause of the broker, or of this very node, every lease is over for a moment and nobody is dead:
        # only who has beaten steadily himself can tell.
        if not (view.alive or view.card.left or self._link.steady):
            view = replace(view, alive=True, silent_ms=0)
        return replace(view, order=read_order(lease.order)[0]) if lease.order else view


def write_order(what: str, details: object) -> bytes:
    """Return an order to a node: `drain` or `resume`."""
    return bytes(msgpack.packb([what, details]))


def read_order(raw: bytes) -> tuple[str, object]:
    """Return what is ordered, empty when nothing (that can be read) is."""
    if not raw:
        return "", None
    try:
        what, details, *_ = msgpack.unpackb(raw)
    except (ValueError, TypeError, msgpack.UnpackException):
        return "", None
    return (what, details) if isinstance(what, str) else ("", None)
