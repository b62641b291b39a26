"""The health of a node: the daemon's own word, or without one what can be seen of the broker and the fleet."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from nova_torch.communication.daemon_box import DaemonBox
from nova_torch.communication.road import GONE_S, Road
from nova_torch.errors import BrokerUnavailable, DaemonUnreachable
from nova_torch.monitoring.health import (
    HealthCheck,
    HealthStatus,
    SystemHealth,
    broker_check,
    overall,
)
from nova_torch.plain import run

if TYPE_CHECKING:
    from nova_torch.communication.broker_box import BrokerBox

PING_WARN_MS = 50.0  # the default of monitoring.broker_ping_ms, for a look without a daemon


class AsyncSystemMonitor:
    """Looks after a node. Use it as `async with AsyncSystemMonitor() as monitor:`; arguments as elsewhere."""

    def __init__(
        self, *, socket: str | None = None, broker: str | None = None, gone_s: float = GONE_S
    ) -> None:
        self._road = Road(socket=socket, broker=broker, gone_s=gone_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<AsyncSystemMonitor {self._road!r}>"

    async def close(self) -> None:
        """Close the connection, if there is one."""
        await self._road.close()

    async def get_system_health(self) -> SystemHealth:
        """Return the health of the node: each check, the worst of them, and what node and agents use.

        Without a daemon the check `daemon` fails, and broker and registry are looked at from here. Raises
        DaemonUnreachable when there is neither.
        """
        box = await self._road.open()
        if isinstance(box, DaemonBox):
            try:
                return SystemHealth.from_json(await box.call("health"))
            except DaemonUnreachable:
                await self._road.close()
                box = await self._road.open()
                if isinstance(box, DaemonBox):
                    return SystemHealth.from_json(await box.call("health"))
        return await _from_outside(box)


class SystemMonitor:
    """Looks after a node, from a script without an event loop; see AsyncSystemMonitor.

    >>> from nova_torch import SystemMonitor
    >>> health = SystemMonitor().get_system_health()
    >>> health.check('broker').status.value, health.check('tmux').status.value
    ('ok', 'ok')
    >>> sorted(health.to_json())
    ['at_ms', 'checks', 'node', 'processes', 'status']
    """

    def __init__(
        self, *, socket: str | None = None, broker: str | None = None, gone_s: float = GONE_S
    ) -> None:
        self._socket = socket
        self._broker = broker
        self._gone_s = gone_s

    def get_system_health(self) -> SystemHealth:
        """Return the health of the node; see AsyncSystemMonitor.get_system_health."""

        async def once() -> SystemHealth:
            async with AsyncSystemMonitor(
                socket=self._socket, broker=self._broker, gone_s=self._gone_s
            ) as monitor:
                return await monitor.get_system_health()

        return run(once(), name="SystemMonitor")


async def _from_outside(box: BrokerBox) -> SystemHealth:
    checks = [
        HealthCheck(
            name="daemon",
            status=HealthStatus.FAIL,
            message="No daemon runs here; this is what the broker shows.",
            hint="Start it: novactl up",
        )
    ]
    begun = time.perf_counter()
    try:
        await box.broker.ping()
        ping_ms = (time.perf_counter() - begun) * 1000
        info = await box.broker.info()
        checks.append(
            broker_check(problem="", ping_ms=ping_ms, limit_ms=PING_WARN_MS, warnings=info.warnings)
        )
        views = await box.views()
        lost = sorted(view.node for view in views if not view.alive)
        checks.append(
            HealthCheck(
                name="registry",
                status=HealthStatus.WARN if lost else HealthStatus.OK,
                message=f"Not heard of: {', '.join(lost)}." if lost else f"{len(views)} nodes live.",
                value=float(len(lost)),
                unit="nodes",
                limit=0.0,
            )
        )
    except BrokerUnavailable as error:
        checks.append(broker_check(problem=error.message, ping_ms=None, limit_ms=PING_WARN_MS, warnings=()))
    return SystemHealth(
        node="", at_ms=time.time_ns() // 1_000_000, status=overall(checks), checks=tuple(checks)
    )
