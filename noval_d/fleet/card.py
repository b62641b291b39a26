"""Say what this node tells the fleet of itself: its agents, its card, its bridges."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from nova_torch.blobs import write_blob
from nova_torch.nodes import Load, NodeCard
from nova_torch.values import AgentRecord
from nova_torch.version import VERSION
from noval_d.fleet.saying import Saying
from noval_d.vitals.checks import FAIL_LAG

if TYPE_CHECKING:
    from noval_d.node.node import Node

UNTOLD = Load()


def saying(node: Node) -> Saying:
    """Return what says all this with the beats of `node`."""
    return Saying(partial(whole, node), partial(gist, node))


def whole(node: Node) -> bytes:
    """Return everything, as it is published."""
    return write_blob(
        node.name,
        mine(node),
        now_ms=node.clock_ms(),
        bridges=node.bridges.names,
        card=card(node),
    )


def gist(node: Node) -> object:
    """Return what of it is news when it changes: something to compare. Not the node's load."""
    agents = node.roster.news(but=node.broker.claims.theirs)
    return agents, replace(card(node), load=UNTOLD), tuple(node.bridges.names)


def mine(node: Node) -> list[AgentRecord]:
    """Return the agents that are this node's: one that another node serves by now is told of by that one."""
    records, theirs = node.roster.records(), node.broker.claims.theirs
    return [record for record in records if record.agent_id not in theirs] if theirs else records


def card(node: Node) -> NodeCard:
    """Return what this node tells of itself beside its agents."""
    leaving = node.stopping.is_set()
    return NodeCard(
        version=VERSION,
        labels=node.config.node.labels,
        max_agents=node.config.node.max_agents,
        lease_ms=0 if leaving else round(node.broker.pace.lease_s * 1000),
        errors=own_errors(node),
        drain=node.draining.drain,
        left=leaving,
        load=node.meter.load,
        signing=node.guard.seals.mode,
        signs=node.guard.seals.signs,
    )


def own_errors(node: Node) -> tuple[str, ...]:
    """Return the codes of what is wrong with the node itself: few and cheap, it is asked with each beat."""
    found: list[str] = []
    if node.tmux.state == "not_answering":
        found.append("tmux_not_answering")
    elif node.tmux.state != "up" and node.roster.agents:
        found.append("tmux_absent")
    if node.store.failing:
        found.append("state_file_failing")
    if node.broken_drivers:
        found.append("driver_broken")
    if (node.lag.worst_ms or 0.0) > FAIL_LAG * node.config.monitoring.loop_lag_ms:
        found.append("event_loop")
    return tuple(found)
