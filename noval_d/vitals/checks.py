"""Judge what was measured of a node against the limits of `[monitoring]`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nova_torch.durations import spoken
from nova_torch.monitoring.health import HealthCheck, HealthStatus, broker_check
from nova_torch.sections import MonitoringSection

MIB = 1 << 20
FAIL_LAG = 10.0
"""So many times the limit of the event loop's lag is a failure: callers run into their time limits."""
FAIL_DISK = 0.25
"""Below this part of the limit of free disk space it is a failure: the next burst of messages fills it."""

OK, WARN, FAIL, UNKNOWN = HealthStatus.OK, HealthStatus.WARN, HealthStatus.FAIL, HealthStatus.UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What was measured. None: it could not be."""

    broker_problem: str
    broker_ping_ms: float | None
    broker_warnings: tuple[str, ...]
    lease_left_s: float
    lease_s: float
    stale_nodes: tuple[str, ...] | None
    outbox_oldest_s: float | None
    outbox_open: int
    disk_free_bytes: int | None
    state_dir: str
    rss_bytes: int | None
    memory_percent: float | None
    loop_lag_ms: float | None


def judged(read: Readings, limits: MonitoringSection) -> list[HealthCheck]:
    """Return a check for each figure."""
    return [
        broker_check(
            problem=read.broker_problem,
            ping_ms=read.broker_ping_ms,
            limit_ms=limits.broker_ping_ms,
            warnings=read.broker_warnings,
        ),
        _lease(read),
        _registry(read.stale_nodes),
        _outbox(read, limits.outbox_age_s),
        _disk(read, limits.disk_free_mib),
        _figure(
            "rss",
            read.rss_bytes,
            limits.rss_mib * MIB,
            "bytes",
            "The daemon and its children use {:.0f} bytes of memory.",
            hint="Report it with what `novactl status` shows; a restart loses nothing.",
        ),
        _figure(
            "memory",
            read.memory_percent,
            limits.memory_percent,
            "percent",
            "{:.0f} percent of the machine's memory are in use.",
            hint="See what uses it, before the kernel chooses.",
        ),
        _figure(
            "event_loop",
            read.loop_lag_ms,
            limits.loop_lag_ms,
            "ms",
            "The event loop was at most {:.0f} ms late in the last minute.",
            hint="The machine is short of processors, or the disk blocks it.",
            fail_from=FAIL_LAG * limits.loop_lag_ms,
        ),
    ]


def of_findings(name: str, findings: Sequence[tuple[str, str, str]]) -> HealthCheck:
    """Make one check of findings of `doctor`, each severity, message and hint; the worst one is told first."""
    rank = {"error": FAIL, "warning": WARN}
    order = {"error": 0, "warning": 1}
    bad = sorted((f for f in findings if f[0] in rank), key=lambda finding: order[finding[0]])
    if not bad:
        message = findings[0][1] if findings else "Nothing is wrong."
        return HealthCheck(name=name, status=OK, message=message, value=0.0, unit="findings", limit=0.0)
    return HealthCheck(
        name=name,
        status=rank[bad[0][0]],
        message=" ".join(message for _, message, _ in bad),
        value=float(len(bad)),
        unit="findings",
        limit=0.0,
        hint=bad[0][2],
    )


def drift(tried: object, now_ms: int) -> HealthCheck:
    """Judge what `doctor --drivers` found last of each agent: what could not be tried does not count."""
    rows: list[tuple[float, bool, str]] = []
    for row in tried.values() if isinstance(tried, Mapping) else ():
        match row:
            case {
                "code": "driver_fits" | "driver_drift" as code,
                "message": str(message),
                "at_ms": int(at_ms),
            }:
                rows.append((max(now_ms - at_ms, 0) / 1000, code == "driver_drift", message))
    if not rows:
        return HealthCheck(
            name="driver_drift", status=UNKNOWN, message="No driver was tried on an agent yet.", unit="drivers",
            limit=0.0, hint="Try them: novactl doctor --drivers",
        )  # fmt: skip
    bad = [(age_s, message) for age_s, drifted, message in rows if drifted]
    if not bad:
        longest = spoken(max(age_s for age_s, _, _ in rows))
        told = f"{len(rows)} drivers fitted when they were tried, {longest} ago at the longest."
        return HealthCheck(name="driver_drift", status=OK, message=told, value=0.0, unit="drivers", limit=0.0)
    return HealthCheck(
        name="driver_drift",
        status=WARN,
        message=" ".join(f"{spoken(age_s)} ago: {message}" for age_s, message in bad),
        value=float(len(bad)),
        unit="drivers",
        limit=0.0,
        hint="Correct the driver, then try again: novactl doctor --drivers",
    )


def _lease(read: Readings) -> HealthCheck:
    left_s = round(max(0.0, read.lease_left_s), 1)
    if left_s:
        return HealthCheck(
            name="lease", status=OK, message=f"The lease holds for {spoken(left_s)}.",
            value=left_s, unit="s", limit=0.0,
        )  # fmt: skip
    return HealthCheck(
        name="lease",
        status=FAIL,
        message="The lease is over: nothing of other nodes is typed until the broker renews it.",
        value=0.0,
        unit="s",
        limit=0.0,
        hint="See the check broker.",
    )


def _registry(stale: tuple[str, ...] | None) -> HealthCheck:
    if stale is None:
        return HealthCheck(
            name="registry", status=UNKNOWN, message="The broker did not tell of the nodes.", unit="nodes"
        )
    told = (
        f"Not heard of since their lease ended: {', '.join(stale)}." if stale else "Every known node lives."
    )
    return HealthCheck(
        name="registry",
        status=WARN if stale else OK,
        message=told,
        value=float(len(stale)),
        unit="nodes",
        limit=0.0,
        hint="Start them again; one that is gone for good is forgotten after a day." if stale else "",
    )


def _outbox(read: Readings, limit_s: float) -> HealthCheck:
    age_s = read.outbox_oldest_s or 0.0
    if not read.outbox_open:
        told = "Every message has its verdict."
    else:
        told = f"{read.outbox_open} messages have no verdict yet, the oldest for {spoken(age_s)}."
    old = age_s > limit_s
    return HealthCheck(
        name="outbox", status=WARN if old else OK, message=told, value=round(age_s, 1), unit="s", limit=limit_s,
        hint="See what holds them: novactl status" if old else "",
    )  # fmt: skip


def _disk(read: Readings, limit_mib: int) -> HealthCheck:
    limit = limit_mib * MIB
    free = read.disk_free_bytes
    if free is None:
        return HealthCheck(
            name="disk", status=UNKNOWN, message=f"{read.state_dir} could not be looked at.", unit="bytes"
        )
    status = FAIL if free < limit * FAIL_DISK else WARN if free < limit else OK
    return HealthCheck(
        name="disk", status=status, message=f"{free // MIB} MiB are free for {read.state_dir}.",
        value=float(free), unit="bytes", limit=float(limit), hint="Make room." if status is not OK else "",
    )  # fmt: skip


def _figure(
    name: str,
    value: float | None,
    limit: float,
    unit: str,
    message: str,
    *,
    hint: str,
    fail_from: float | None = None,
) -> HealthCheck:
    if value is None:
        return HealthCheck(
            name=name, status=UNKNOWN, message="Not measured yet.", unit=unit, limit=float(limit)
        )
    status = OK if value <= limit else WARN
    if fail_from is not None and value > fail_from:
        status = FAIL
    return HealthCheck(
        name=name, status=status, message=message.format(value), value=float(value), unit=unit,
        limit=float(limit), hint="" if status is OK else hint,
    )  # fmt: skip
