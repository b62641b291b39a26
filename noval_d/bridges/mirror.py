"""Show the agents of this node in the registry of old readers: a hash each, and the set of the active."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nova_torch.bridging import Mirror
from nova_torch.errors import BrokerUnavailable
from nova_torch.values import AgentRecord, AgentState
from noval_d.agents.states import COMPACTS
from noval_d.bridges.encode import iso
from noval_d.bridges.fleet import Fleet

if TYPE_CHECKING:
    from noval_d.node.node import Node

log = logging.getLogger("nova.bridges")

LOOK_S = 0.5
OFFLINE = "offline"
STATUS = {
    AgentState.STARTING: "initializing",
    AgentState.IDLE: "idle",
    AgentState.BUSY: "busy",
    AgentState.DIALOG: "active",
    AgentState.DRAFT: "active",
    AgentState.PAUSED: "active",
    AgentState.EXITED: OFFLINE,
    AgentState.LOST: OFFLINE,
}
"""Our states in the words of old readers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What of an agent old readers see besides the time."""

    status: str
    role: str
    skills: tuple[str, ...]
    pane: str


def shown(record: AgentRecord, *, stopping: bool) -> Shown:
    """Return how an agent is shown; agents of a node that stops cannot be reached."""
    status = OFFLINE if stopping else STATUS[record.state]
    return Shown(status=status, role=record.role, skills=record.skills, pane=record.pane)


def fields_of(agent: str, seen: Shown, *, node: str, host: str, now_ms: int) -> dict[str, str]:
    """Return the fields of an agent's hash, but for when it was registered."""
    metadata = {"node": node, "role": seen.role, "pane": seen.pane, "source": "nova-torch"}
    return {
        "nova_id": agent,
        "capabilities": json.dumps(list(seen.skills), ensure_ascii=False),
        "status": seen.status,
        "last_heartbeat": iso(now_ms),
        "hostname": host,
        "metadata": json.dumps(metadata, ensure_ascii=False),
    }


class Mirroring:
    """The registry of one node's agents."""

    def __init__(self, node: Node, config: Mirror, fleet: Fleet) -> None:
        self._node = node
        self._config = config
        self._fleet = fleet
        self._host = socket.gethostname()
        self._written: dict[str, Shown] = {}
        self._compacting: set[str] = set()
        self._at = float("-inf")
        self.problem = ""

    def __repr__(self) -> str:
        return f"<Mirroring {len(self._written)} agents>"

    async def run(self) -> None:
        """Write changes at once and everything with each beat; when the node stops, that nobody can be reached."""
        while True:
            stopping = self._node.stopping.is_set()
            broker = self._node.broker.broker
            if broker is not None:
                try:
                    await self._round(stopping=stopping)
                except BrokerUnavailable as error:
                    self._at = float("-inf")
                    self._node.broker.failed(error)
                else:
                    if stopping:
                        return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._node.stopping.wait()
            if stopping:
                await asyncio.sleep(LOOK_S)

    async def _round(self, *, stopping: bool) -> None:
        node = self._node
        broker = node.broker.broker
        assert broker is not None
        now = {
            str(agent.id): shown(node.roster.record(agent, 0), stopping=stopping)
            for agent in node.roster.agents.values()
            if not node.broker.taken(agent.id)  # its node by now tells of it
        }
        beat = stopping or node.clock() - self._at >= self._config.beat_s
        changed = {agent: seen for agent, seen in now.items() if beat or self._written.get(agent) != seen}
        gone = [agent for agent in self._written if agent not in node.roster.agents]
        absent = {agent for agent, seen in changed.items() if seen.status == OFFLINE}
        if beat:
            nodes = await self._fleet.look(broker)
            alive = {agent for view in nodes for agent in view.agents}
            absent |= {agent for view in self._fleet.lost for agent in view.agents} - alive
        if changed or gone or absent:
            await self._write(changed, gone, absent)
        self._written = now
        if beat:
            self._at = node.clock()
        await self._compactions()

    async def _write(self, changed: Mapping[str, Shown], gone: list[str], absent: set[str]) -> None:
        node, config = self._node, self._config
        broker = node.broker.broker
        assert broker is not None
        now_ms = node.clock_ms()
        refused = await broker.mirror(
            {
                self._key(agent): fields_of(agent, seen, node=node.name, host=self._host, now_ms=now_ms)
                for agent, seen in changed.items()
            },
            once={"registered_at": iso(now_ms)},
            dead_s=config.dead_s,
            active=config.active,
            present=sorted(set(changed) - absent),
            absent=sorted(absent | set(gone)),
            gone=[self._key(agent) for agent in gone],
        )
        problem = "; ".join(refused)
        if problem and problem != self.problem:
            log.warning("bridge.registry_refused", extra={"problem": problem})
        self.problem = problem

    async def _compactions(self) -> None:
        """Say of agents that have begun to compact their conversations that they do."""
        broker = self._node.broker.broker
        compacting = {
            str(agent.id) for agent in self._node.roster.agents.values() if agent.standing.detail == COMPACTS
        }
        for agent in compacting - self._compacting:
            if broker is not None:
                key = self._config.status.replace("{agent}", agent)
                await broker.say_for(key, "COMPACTING", self._config.compacting_s)
        self._compacting = compacting

    def _key(self, agent: str) -> str:
        return self._config.key.replace("{agent}", agent)
