"""Take nothing new on this node: keep the order over restarts, and end spawned agents as soon as they are done.

What a node that drains has is brought to its end: messages that are sent to its agents by name are typed as ever.
A spawned agent that is idle and has nothing waiting is stopped and archived; at the deadline those that are left
are stopped too, and what waits for them is given up, which their senders are told. Panes that people registered
are theirs: they stay as they are.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgpack

from nova_torch.errors import BrokerUnavailable, Conflict, NovaError, StoreFailed
from nova_torch.nodes import Drain
from nova_torch.values import AgentId, AgentState
from noval_d.fleet.others import read_order, write_order
from noval_d.mailroom.seals import Seals, Unproven
from noval_d.mailroom.store import Statement
from noval_d.node.pulse import idle

if TYPE_CHECKING:
    from noval_d.node.node import Node

log = logging.getLogger("nova.node")

ROW = "drain"
ORDER_MS = 3_600_000
"""With signing required, an older order is not carried out: the ledger of messages knows nothing of orders."""
LOOK_S = 1.0  # while it drains, at agents that may be done
AT_WORK = frozenset({AgentState.BUSY, AgentState.DIALOG, AgentState.STARTING})


class Draining:
    """Whether this node drains, and the task that ends its agents then."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._news = asyncio.Event()
        self._waits = False
        self._obeying = asyncio.Lock()
        self.done = b""
        """The order that was carried out last; the beat that tells of it takes it out of the registry."""
        self.drain: Drain | None = None

    def __repr__(self) -> str:
        return f"<Draining {self.drain}>"

    def load(self) -> None:
        """Bring back what was ordered before the node was started."""
        rows = self._node.store.read("SELECT value FROM node WHERE name = ?", (ROW,))
        self.drain = Drain.from_json(msgpack.unpackb(rows[0]["value"])) if rows else None
        self._news.set()

    async def set(self, drain: Drain | None) -> None:
        """Drain, or take new agents again; durable when this returns."""
        if drain is None:
            await self._node.store.write(Statement("DELETE FROM node WHERE name = ?", (ROW,)))
        else:
            if self.drain is not None:  # a second order may move the deadline, not the beginning
                drain = Drain(since_ms=self.drain.since_ms, deadline_ms=drain.deadline_ms, by=drain.by)
            packed = bytes(msgpack.packb(drain.to_json()))
            await self._node.store.write(
                Statement(
                    "INSERT INTO node (name, value) VALUES (?, ?)"
                    " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    (ROW, packed),
                )
            )
        changed, self.drain = drain != self.drain, drain
        if changed:
            log.info("node.draining" if drain else "node.resumed", extra={"by": drain.by if drain else ""})
            self._node.events.publish(
                {
                    "at_ms": self._node.clock_ms(),
                    "event": "node.draining" if drain else "node.resumed",
                    "agent": "",
                    "node": self._node.name,
                    "reason": drain.by if drain else "",
                }
            )
        self._node.broker.beat_soon()
        self._news.set()

    def ordered(self, order: bytes) -> None:
        """Note that an order waits in the registry, as a beat was told."""
        if order != self.done:
            self._waits = True
            self._news.set()

    def refuse(self, what: str) -> None:
        """Raise Conflict when nothing new may begin here: the node drains, or it is full."""
        node = self._node
        if self.drain is not None:
            raise Conflict(
                f"node {node.name} drains: {what} is not started here.",
                f"Take another node, or: novactl node resume {node.name}",
            )
        most = node.config.node.max_agents
        if most and len(node.roster.agents) >= most:
            raise Conflict(
                f"node {node.name} has {len(node.roster.agents)} agents, and {most} at most (node.max_agents).",
                "Take another node, or end an agent that is done: novactl stop AGENT",
            )

    def open(self) -> list[AgentId]:
        """Return the agents that have something to bring to its end."""
        agents = self._node.roster.agents.values()
        return sorted(agent.id for agent in agents if not self._idle(agent.id))

    async def run(self) -> None:
        """Carry out orders, and end agents while the node drains, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(LOOK_S if self.drain is not None else None):
                    await idle(self._news.wait)
            except TimeoutError:
                pass
            self._news.clear()
            try:
                if self._waits:
                    self._waits = False
                    await self.obey()
                if self.drain is not None:
                    await self._end_some(self.drain)
            except (StoreFailed, BrokerUnavailable) as error:
                log.warning("node.order_waits", extra={"problem": error.message})
                await asyncio.sleep(LOOK_S)
                self._news.set()

    async def obey(self) -> None:
        """Carry out the order that waits in the registry now, once; durable when this returns.

        A beat may have been told of one that was taken back since.
        """
        broker = self._node.broker.broker
        if broker is None:  # after its return a beat is told of the order again
            return
        async with self._obeying:
            order = await broker.order_of(self._node.name)
            if order and order != self.done:
                await self._obey(order)

    async def _obey(self, order: bytes) -> None:
        what, details = read_order(order)
        if not is_sealed(order, self._node.name, self._node.guard.seals, self._node.clock_ms()):
            log.warning("node.order_refused", extra={"order": what})
        elif what == "drain":
            await self.set(Drain.from_json(details) or Drain(since_ms=self._node.clock_ms()))
        elif what == "resume":
            await self.set(None)
        else:
            log.warning("node.order_unknown", extra={"order": what})
        self.done = order
        self._node.broker.beat_soon()

    def _idle(self, agent_id: AgentId) -> bool:
        agent, worker = self._node.roster.agents[agent_id], self._node.roster.workers[agent_id]
        return not worker.in_hand and agent.state not in AT_WORK and not agent.launching

    async def _end_some(self, drain: Drain) -> None:
        late = drain.deadline_ms is not None and self._node.clock_ms() >= drain.deadline_ms
        ending = [name for name in list(self._node.lives.keepers) if late or await self.has_nothing(name)]
        await asyncio.gather(*(self._end(name) for name in ending))

    async def has_nothing(self, agent_id: AgentId) -> bool:
        """Tell whether an agent is idle and its mailbox is empty; not known while the broker is down."""
        broker = self._node.broker.broker
        if agent_id not in self._node.roster.agents or not self._idle(agent_id) or broker is None:
            return False
        return (await broker.backlog([agent_id]))[agent_id] == 0

    async def _end(self, agent_id: AgentId) -> None:
        try:
            await self._node.lives.stop_agent(agent_id, force=False)
        except NovaError as error:
            log.warning("node.not_drained", extra={"agent": agent_id, "problem": error.message})


def sealed_order(order: bytes, node: str, seals: Seals) -> bytes:
    """Return an order as it goes to `node`."""
    what, details = read_order(order)
    signature = seals.sign("order", node, what, msgpack.packb(details))
    return bytes(msgpack.packb([what, details, signature])) if signature else order


def is_sealed(order: bytes, node: str, seals: Seals, now_ms: int) -> bool:
    """Tell whether an order is the fleet's, for `node`, and not an old one that somebody has put back."""
    what, details = read_order(order)
    given = msgpack.unpackb(order)[2:] if what else []
    signature = given[0] if given and isinstance(given[0], str) else ""
    try:
        seals.check(signature, "order", node, what, msgpack.packb(details), target=node, named="", sender="")
    except Unproven:
        return False
    at_ms = details.get("since_ms", details.get("at_ms")) if isinstance(details, dict) else None
    return not seals.strict or (isinstance(at_ms, int) and abs(now_ms - at_ms) < ORDER_MS)


def drain_order(drain: Drain) -> bytes:
    """Return the order to drain."""
    return write_order("drain", drain.to_json())


def resume_order(at_ms: int) -> bytes:
    """Return the order to take new agents again."""
    return write_order("resume", {"at_ms": at_ms})
