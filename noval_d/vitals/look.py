"""Measure a node and have it judged: the answer to the call `health`. Nothing here blocks the loop."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping

from nova_torch.errors import NovaError, StoreFailed
from nova_torch.monitoring.health import ProcessUse, SystemHealth, overall
from noval_d.health.findings import findings
from noval_d.node.node import Node
from noval_d.vitals.checks import Readings, drift, judged, of_findings

BROKER_S = 2.0
PROCESSES_S = 5.0
NODE = "node"
TRIED = "drivers.json"
TRIED_BYTES = 1 << 20
PARTS: Mapping[str, tuple[str, ...]] = {
    "tmux": ("tmux", "tmux_not_answering", "tmux_absent"),
    "state_file": ("state_file", "state_file_failing"),
    "drivers": ("driver_broken", "driver_missing"),
}
"""Checks that say what `doctor` says, and its codes for them."""


async def look(node: Node) -> SystemHealth:
    """Return the health of the node now."""
    broker, machine = await asyncio.gather(_broker(node), _machine(node))
    ping_ms, stale, problem = broker
    uses, disk_free, memory_percent = machine
    now_ms = node.clock_ms()
    oldest_ms, open_count = _outbox(node)
    own = next((use.rss_bytes for use in uses if use.name == NODE), None)
    info = node.broker.info
    read = Readings(
        broker_problem=problem,
        broker_ping_ms=ping_ms,
        broker_warnings=info.warnings if info is not None else (),
        lease_left_s=node.broker.lease_left_s,
        lease_s=node.config.broker.lease_s,
        stale_nodes=stale,
        outbox_oldest_s=None if oldest_ms is None else max(0, now_ms - oldest_ms) / 1000,
        outbox_open=open_count,
        disk_free_bytes=disk_free,
        state_dir=node.config.state.dir,
        rss_bytes=own,
        memory_percent=memory_percent,
        loop_lag_ms=node.lag.worst_ms,
    )
    found = findings(node, private=False)
    checks = [
        *judged(read, node.config.monitoring),
        *(
            of_findings(name, [(f.severity, f.message, f.hint) for f in found if f.code in codes])
            for name, codes in PARTS.items()
        ),
        drift(_tried(node.config.state.dir), now_ms),
    ]
    return SystemHealth(
        node=node.name, at_ms=now_ms, status=overall(checks), checks=tuple(checks), processes=tuple(uses)
    )


async def _broker(node: Node) -> tuple[float | None, tuple[str, ...] | None, str]:
    """Return how long a ping took in ms, the nodes whose lease is over, and what went wrong."""
    broker = node.broker.broker
    if broker is None:
        return None, None, node.broker.problem
    ping_ms: float | None = None
    try:
        async with asyncio.timeout(BROKER_S):
            begun = node.clock()
            await broker.ping()
            ping_ms = (node.clock() - begun) * 1000
            views = await node.others.views()
    except (NovaError, TimeoutError) as error:
        return ping_ms, None, error.message if isinstance(error, NovaError) else "no answer in time."
    return ping_ms, tuple(view.node for view in views if not view.alive and not view.card.left), ""


async def _machine(node: Node) -> tuple[list[ProcessUse], int | None, float | None]:
    """Return what node and agents use, the free bytes of the state directory, the memory in use in percent."""
    agents = node.roster.agents.values()
    roots: dict[str, int] = {NODE: os.getpid()}
    roots |= {agent.id: agent.facts.pid for agent in agents if agent.facts is not None}
    try:
        async with asyncio.timeout(PROCESSES_S):
            return await asyncio.to_thread(_measured, roots, node.config.state.dir)
    except TimeoutError:
        return [], None, None


def _measured(roots: Mapping[str, int], directory: str) -> tuple[list[ProcessUse], int | None, float | None]:
    import psutil  # 2 MB and 10 ms that only who asks pays for

    from noval_d.vitals.processes import measure

    try:
        disk = os.statvfs(directory)
        free: int | None = disk.f_bavail * disk.f_frsize
    except OSError:
        free = None
    return measure(roots), free, float(psutil.virtual_memory().percent)


def _tried(directory: str) -> object:
    """Return what `doctor --drivers` found last; None when it never did, or that cannot be read."""
    try:
        with open(os.path.join(directory, TRIED), "rb") as file:
            return json.loads(file.read(TRIED_BYTES))
    except (OSError, ValueError, RecursionError):
        return None


def _outbox(node: Node) -> tuple[int | None, int]:
    try:
        return node.outbox.oldest_open_ms(), node.outbox.depth()
    except StoreFailed:  # the check state_file tells of it
        return None, 0
