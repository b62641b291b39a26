"""Answer the calls about nodes: list, show, drain, resume, remove."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from nova_torch.broker import Broker
from nova_torch.errors import BrokerUnavailable, Conflict, NotFound
from nova_torch.fleet import NodeView, everybody
from nova_torch.nearest import suggestion
from nova_torch.nodes import Drain, NodeState, last_of
from nova_torch.policy import party_of_node
from noval_d.calls.base import Base
from noval_d.calls.people import person
from noval_d.control.args import Args
from noval_d.control.calls import Peer
from noval_d.fleet.drain import drain_order, resume_order, sealed_order
from noval_d.fleet.gone import give_up_all, waiting_for

DRAINS_AT_ONCE = 20
"""So often a drain is decided on anew because others came first."""
HEARD_S = 3.0
"""So long a node may take to carry out what it is ordered to; then it is said that it did not yet."""
HEARD_LOOK_S = 0.05
ORDERED = "ordered"


class NodeCalls(Base):
    """One method a call."""

    async def node_list(self, _peer: Peer, _args: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return every node of the fleet, by name."""
        return [self._node_row(view) for view in await self._fleet_views()]

    async def node_show(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return one node (by default this one) with its agents."""
        views = await self._fleet_views()
        view = self._named(Args(args), views)
        there = [record for record in everybody(views) if record.node == view.node]
        return {
            **self._node_row(view),
            "roles": sorted({record.role for record in there if record.role}),
            "last_of_role": _alone(views, view.node),
            "agent_list": [
                {
                    "agent_id": record.agent_id,
                    "role": record.role,
                    "state": record.state.value,
                    "queued": record.queued,
                }
                for record in there
            ],
        }

    async def node_drain(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Have a node take nothing new and end its spawned agents as they are done."""
        asked = Args(args)
        deadline_s = asked.optional_number("deadline_s", least=0, most=30 * 86_400)
        view = self._living(self._named(asked, await self._fleet_views()), "drain")
        self._demand("operate", peer, asked, party_of_node(view.node))
        now_ms = self._node.clock_ms()
        drain = Drain(
            since_ms=now_ms,
            deadline_ms=None if deadline_s is None else now_ms + round(deadline_s * 1000),
            by=person(peer),
        )
        done = await self._order_drain(view.node, drain, force=asked.flag("force"))
        state = "draining" if done else ORDERED
        return {"node": view.node, "state": state, "deadline_ms": drain.deadline_ms}

    async def _order_drain(self, name: str, drain: Drain, *, force: bool) -> bool:
        """Give the order, decided on a sight of the fleet in which no other drain is missing.

        Tells whether it is carried out. Raises Conflict when a role would have no node left. Of two nodes that are
        drained at once the second is decided on again, when the order of the first is there to be seen.
        """
        broker = self._broker_for(name)
        if broker is None:
            if not force:
                refuse_last(await self._fleet_views(), name)
            await self._node.draining.set(drain)
            return True
        order = sealed_order(drain_order(drain), name, self._node.guard.seals)
        given = force and await broker.order_drain(name, order)
        for _ in range(DRAINS_AT_ONCE):
            if given:
                break
            drains = await broker.drains()
            views = await self._fleet_views(fresh_s=0.0)
            seen = [view for view in views if view.node == name]
            if not seen:  # the registry could not be read, or is just filling again
                raise Conflict(f"node {name} is not in the registry just now.", "Try again.")
            self._living(seen[0], "drain")  # its lease may be over by now
            refuse_last(views, name)
            given = await broker.order_drain(name, order, drains)
        if not given:
            raise Conflict("other nodes are drained all the time.", "Try again.")
        return await self._done(broker, name, order, drains=True)

    async def node_resume(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Have a node take new agents again."""
        asked = Args(args)
        view = self._living(self._named(asked, await self._fleet_views()), "resume")
        self._demand("operate", peer, asked, party_of_node(view.node))
        broker = self._broker_for(view.node)
        done = broker is None
        if broker is None:
            await self._node.draining.set(None)
        else:  # this node's own way, too: an order to drain that still waits there must not come after it
            order = sealed_order(resume_order(self._node.clock_ms()), view.node, self._node.guard.seals)
            await broker.order(view.node, order)
            done = await self._done(broker, view.node, order, drains=False)
        return {"node": view.node, "state": "ready" if done else ORDERED}

    async def node_remove(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Forget a node that is gone for good, and its agents; with `force` what waits for them is given up."""
        asked = Args(args)
        asked.text("name")
        views = await self._fleet_views()
        view = self._named(asked, views)
        self._demand("operate", peer, asked, party_of_node(view.node))
        if view.alive:
            raise Conflict(
                f"node {view.node} lives ({view.state}).",
                f"First: novactl node drain {view.node}, then novactl down there.",
            )
        broker = self._node.broker.broker
        if broker is None:
            raise BrokerUnavailable(self._node.broker.problem, "See: novactl doctor")
        mine = [record.agent_id for record in everybody(views) if record.node == view.node]
        waiting = await waiting_for(broker, view.node, mine)
        if waiting and not asked.flag("force"):
            listed = ", ".join(f"{count} for {agent}" for agent, count in sorted(waiting.items()))
            raise Conflict(
                f"messages wait for agents of node {view.node}: {listed}.",
                "Start these agents elsewhere under their names (novactl spawn ROLE --id NAME), or say --force.",
            )
        failed = await give_up_all(self._node, view.node, mine, f"node {view.node} was removed")
        await broker.forget_node(view.node)
        self._node.others.stale()
        return {"node": view.node, "agents": len(mine), "dropped": failed}

    def _node_row(self, view: NodeView) -> dict[str, Any]:
        own = view.node == self._node.name
        row = {**view.to_json(), "here": own}
        if own:
            row["open"] = list(self._node.draining.open())
            row["note"] = self._unseen
        return row

    def _named(self, asked: Args, views: list[NodeView]) -> NodeView:
        name = asked.optional_text("name") or self._node.name
        for view in views:
            if view.node == name:
                return view
        known = [view.node for view in views]
        cure = suggestion(name, known, otherwise=f"Known: {', '.join(known)}.")
        with self._as_far_as_seen():
            raise NotFound(f"no node {name!r} is known.", cure)

    @staticmethod
    def _living(view: NodeView, what: str) -> NodeView:
        if not view.alive:
            raise Conflict(
                f"node {view.node} is {view.state} and hears no order to {what}.",
                f"If it is gone for good: novactl node remove {view.node}",
            )
        return view

    def _broker_for(self, name: str) -> Broker | None:
        """Return the broker through which `name` is ordered; None for this very node while there is none."""
        broker = self._node.broker.broker
        if broker is None and name != self._node.name:
            raise BrokerUnavailable(self._node.broker.problem, "See: novactl doctor")
        return broker

    async def _done(self, broker: Broker, name: str, order: bytes, *, drains: bool) -> bool:
        """Tell whether a node has carried an order out: until it says so, the order lies in the broker alone.

        Raises Conflict when the order is gone and the node says the contrary: it refused it, or another one came.
        """
        if name == self._node.name:
            await self._node.draining.obey()
            self._node.others.stale()
            return (self._node.draining.drain is not None) is drains
        done, end = False, self._node.clock() + HEARD_S
        with contextlib.suppress(BrokerUnavailable):
            while not (done := await broker.order_of(name) != order):
                if self._node.clock() > end:
                    break
                await asyncio.sleep(HEARD_LOOK_S)
        self._node.others.stale()
        seen = [view for view in (await self._fleet_views(fresh_s=0.0) if done else ()) if view.node == name]
        if seen and (seen[0].card.drain is not None) is not drains:
            raise Conflict(
                f"node {name} has not carried it out: another order came behind it, or it took it for forged.",
                f"See its log, and: novactl node show {name}",
            )
        return bool(seen)


def refuse_last(views: list[NodeView], name: str) -> None:
    """Raise Conflict when a role would have no node left that takes anything new.

    One that drains may drain, unless it is about to take again: others may be drained because it does.
    """
    if any(
        view.node == name and view.state is NodeState.DRAINING and view.order != "resume" for view in views
    ):
        return
    if roles := _alone(views, name):
        raise Conflict(
            f"node {name} is the last that takes anything new with an agent of the"
            f" {'role' if len(roles) == 1 else 'roles'} {', '.join(roles)}.",
            "Start one elsewhere first, or say --force.",
        )


def _alone(views: list[NodeView], name: str) -> list[str]:
    """Return the roles for which `name` is the last node that takes anything new."""
    roles: dict[str, list[tuple[str, bool]]] = {}
    for view in views:
        if view.alive:
            for record in view.agents:
                if record.role:
                    roles.setdefault(record.role, []).append((view.node, view.takes))
    return last_of(roles, name)
