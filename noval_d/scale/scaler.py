"""Scale the fleet, if this node leads: look, decide, write the decision down, have it done.

Every node that has a `[scaling.ROLE]` may lead; the lease in the broker says which one does. An action is written
under the fence of that lease before anything is asked for, and its id is what the other node is asked under: a
leader that dies in between is followed by one that asks again, and that is the same agent. Each node keeps what it
read in its state file, so that a broker that was wiped gets it back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgpack

from nova_torch.broker import Broker
from nova_torch.broker.scaling import Lead
from nova_torch.errors import BrokerUnavailable, Conflict, InvalidRequest, NotFound, NotOwner, StoreFailed
from nova_torch.fleet import NodeView
from nova_torch.placement import place
from nova_torch.values import AgentId
from noval_d.failpoints import failpoint
from noval_d.fleet.card import card, mine
from noval_d.mailroom.seals import Unproven
from noval_d.mailroom.store import Statement
from noval_d.node.pulse import idle, rest
from noval_d.scale.acting import Acting, agent_name
from noval_d.scale.decide import Backlog, Decision, decide
from noval_d.scale.history import Action, Stand, Way, action_id, kept, learned, merged, pack, unpack
from noval_d.scale.seeing import Sight, backlogs

if TYPE_CHECKING:
    from noval_d.node.node import Node

log = logging.getLogger("nova.scale")

ROW = "scaling"
LEASES = 3.0
"""The lead holds for so many looks, and for 3 s at least."""
AVOID_MS = 300_000
"""A node where a start failed is left out for so long."""


class Scaler:
    """What this node knows of scaling, and does when it leads."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._news = asyncio.Event()
        self._acting = Acting(node, self._ended)
        self._sight = Sight()
        self._settled_at: float | None = None
        self._told: dict[str, str] = {}
        self.history: dict[str, Action] = {}
        self.lead: Lead | None = None

    def __repr__(self) -> str:
        return f"<Scaler lead={self.lead} {len(self.history)} actions {self._acting!r}>"

    @property
    def leads(self) -> bool:
        """Whether this node leads."""
        return self.lead is not None and self.lead.node == self._node.name

    def load(self) -> None:
        """Bring back what was known before the node was started."""
        rows = self._node.store.read("SELECT value FROM node WHERE name = ?", (ROW,))
        packed = msgpack.unpackb(rows[0]["value"]) if rows else []
        self.history = merged(action for raw in packed if (action := self._read(raw)) is not None)

    def broker_up(self, lost: bool) -> None:
        """Connected (again): until every node has had the time to tell of its agents nothing is decided."""
        if lost or self._settled_at is None:
            self._settled_at = self._node.clock() + self._node.broker.pace.lease_s
        self._news.set()

    def wake(self) -> None:
        """Look again: the configuration changed."""
        self._news.set()

    async def run(self) -> None:
        """Look until cancelled; without a role to scale it only waits for another configuration."""
        try:
            while True:
                self._news.clear()
                if not self._node.config.scaling.rules:
                    await idle(self._news.wait)
                    continue
                try:
                    await self._look(await self._node.broker.wait_up())
                except NotOwner as error:
                    log.info("scale.not_leading", extra={"problem": error.message})
                    self.lead = None
                except BrokerUnavailable as error:
                    self._node.broker.failed(error)
                except StoreFailed as error:
                    log.warning("scale.store_failed", extra={"problem": error.message})
                await rest(self._node.config.scaling.look_s)
        finally:
            await self._acting.stop()

    async def standing(
        self,
    ) -> tuple[list[Decision], Mapping[str, Backlog], list[NodeView]]:
        """Return what would be decided now, by this node's configuration, and what by."""
        broker = self._node.broker.broker
        if broker is not None:
            await self._refresh(broker)
            if not self.leads:
                self.lead = await broker.scaling_lead()
        views = await self._views()
        return *self._decided(views), views

    # -- one look --

    async def _look(self, broker: Broker) -> None:
        node, scaling = self._node, self._node.config.scaling
        before = self.lead
        epoch = before.epoch if before is not None and before.node == node.name else 0
        ttl_s = max(3.0, scaling.look_s * LEASES)
        self.lead = lead = await broker.lead_scaling(node.name, epoch, scaling.digest, ttl_s=ttl_s)
        if before is None or (before.node, before.epoch) != (lead.node, lead.epoch):
            differs = "; this node's [scaling] differs from it" if lead.digest != scaling.digest else ""
            self._tell("scale.leader", "", f"node {lead.node} leads{differs}", of=lead.node)
        theirs = await self._refresh(broker)
        if not self.leads:
            return
        views = await self._views()
        if node.others.blind:  # the agents of the others are there all the same
            return
        agents = {record.agent_id for view in views for record in view.agents}
        now_ms = node.clock_ms()
        known, self.history = self.history, kept(self.history, agents, now_ms)
        back = {a.id: self._packed(a) for a in self.history.values() if theirs.get(a.id) != a}
        gone = [name for name in {*known, *theirs} if name not in self.history]
        if back or gone:
            await broker.note_actions(lead, back, gone)
        if self._settled_at is None or node.clock() < self._settled_at or not node.broker.steady:
            return
        self._acting.go_on(self.history.values())
        for decision in self._decided(views)[0]:
            await self._act(broker, lead, decision, views)

    async def _refresh(self, broker: Broker) -> dict[str, Action]:
        """Learn what others did; keep it in the state file when it is new. Return what the broker has."""
        raw = await broker.scale_actions()
        theirs = {a.id: a for each in raw.values() if (a := self._read(each)) is not None}
        await self._learn(learned(self.history, theirs, self._node.clock_ms()))
        return theirs

    async def _learn(self, history: dict[str, Action]) -> None:
        if history != self.history:
            packed = msgpack.packb([self._packed(action) for action in history.values()])
            await self._node.store.write(
                Statement(
                    "INSERT INTO node (name, value) VALUES (?, ?)"
                    " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    (ROW, bytes(packed)),
                )
            )
            self.history = history

    async def _views(self) -> list[NodeView]:
        node = self._node
        here = NodeView(
            node=node.name,
            alive=True,
            last_seen_ms=node.clock_ms(),
            agents=tuple(mine(node)),
            card=card(node),
        )
        return [here, *await node.others.views()]

    def _decided(self, views: list[NodeView]) -> tuple[list[Decision], Mapping[str, Backlog]]:
        node, now_ms = self._node, self._node.clock_ms()
        scaling = node.config.scaling
        waiting = backlogs(scaling, node.config.agents, node.tasks.known, now_ms)
        there = self._sight.look(views, node.tasks.known.holding, now_ms)
        return decide(scaling, there, waiting, self.history.values(), now_ms), waiting

    # -- doing it --

    async def _act(self, broker: Broker, lead: Lead, decision: Decision, views: list[NodeView]) -> None:
        node, dry = self._node, self._node.config.scaling.dry_run
        if decision.way == "hold" or dry:
            if self._told.get(decision.role) != _gist(decision):
                self._told[decision.role] = _gist(decision)
                event = "scale.hold" if decision.way == "hold" else "scale.would"
                self._tell(event, decision.role, decision.why)
            return
        self._told.pop(decision.role, None)
        at_ms = node.clock_ms()
        actions = (
            self._starts(decision, views, at_ms)
            if decision.way == Way.UP
            else [
                Action(
                    id=action_id(decision.role, Way.DOWN, at_ms, number), role=decision.role, way=Way.DOWN,
                    at_ms=at_ms, agent=each.agent, node=each.node, why=decision.why,
                )
                for number, each in enumerate(decision.agents)
            ]
        )  # fmt: skip
        if not actions:
            return
        await broker.note_actions(lead, {action.id: self._packed(action) for action in actions})
        failpoint("scale.decided")
        await self._learn(merged(self.history.values(), actions))
        self._tell(f"scale.{decision.way}", decision.role, decision.why)
        self._acting.go_on(actions)

    def _starts(self, decision: Decision, views: list[NodeView], at_ms: int) -> list[Action]:
        """Return the starts of a decision, each on its node; fewer when no node takes more."""
        rule = self._node.config.scaling.rules[decision.role]
        failed = {
            a.node: a.note
            for a in sorted(self.history.values(), key=lambda action: action.at_ms)
            if a.role == decision.role
            and a.stand is Stand.FAILED
            and at_ms - a.at_ms < AVOID_MS
            and a.way is Way.UP
        }
        coming = dict(self._node.asks.coming)
        made: list[Action] = []
        for number in range(decision.count):
            try:
                chosen = place(views, role=decision.role, labels=rule.labels, coming=coming, avoid=failed)
            except (Conflict, NotFound) as error:
                self._tell("scale.blocked", decision.role, f"{decision.why}; but {error.message}")
                break
            coming[chosen.node] = coming.get(chosen.node, 0) + 1
            name = action_id(decision.role, Way.UP, at_ms, number)
            made.append(
                Action(
                    id=name, role=decision.role, way=Way.UP, at_ms=at_ms, node=chosen.node,
                    agent=agent_name(decision.role, name), why=f"{decision.why}; on {chosen.node}: {chosen.why}",
                )
            )  # fmt: skip
        return made

    async def _ended(self, action: Action) -> None:
        """Write down how an action ended; when another node leads by now, that one finds out for itself."""
        word = (
            {Way.UP: "started", Way.DOWN: "stopped"}[action.way] if action.stand is Stand.DONE else "failed"
        )
        self._tell(
            f"scale.{word}", action.role, action.note or action.why, of=action.node, agent=action.agent
        )
        try:
            await self._learn(merged(self.history.values(), [action]))
            broker, lead = self._node.broker.broker, self.lead
            if broker is not None and lead is not None and self.leads:
                await broker.note_actions(lead, {action.id: self._packed(action)})
        except (BrokerUnavailable, NotOwner, StoreFailed) as error:
            log.info("scale.not_noted", extra={"id": action.id, "problem": error.message})

    # -- small things --

    def _packed(self, action: Action) -> bytes:
        return pack(action, self._node.guard.seals.sign("scale", *action.to_json().values()))

    def _read(self, raw: bytes) -> Action | None:
        try:
            action, signature = unpack(raw)
            told = {"target": action.agent, "named": action.id, "sender": "scaling"}
            self._node.guard.seals.check(signature, "scale", *action.to_json().values(), **told)
        except InvalidRequest as error:
            log.warning("scale.unreadable", extra={"problem": error.message})
            return None
        except Unproven:
            return None
        return action

    def _tell(self, event: str, role: str, why: str, *, of: str = "", agent: str = "") -> None:
        log.info(event, extra={"role": role, "reason": why, "agent": agent})
        told: dict[str, Any] = {
            "at_ms": self._node.clock_ms(), "event": event, "agent": AgentId(agent), "role": role, "reason": why,
            "node": of or self._node.name,
        }  # fmt: skip
        self._node.events.publish(told)


def _gist(decision: Decision) -> str:
    """Return what of a decision is news when it changes: not how long something has waited."""
    return f"{decision.way} {decision.count} {len(decision.agents)} {sorted(decision.used.items())}"
