"""The health of a node as a document: what was looked at, how it is, where the limit lies. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class HealthStatus(StrEnum):
    """How something is. `unknown`: it could not be looked at; that is no fault by itself."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


_WORSE = (HealthStatus.OK, HealthStatus.WARN, HealthStatus.FAIL)


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """One thing that was looked at. `value` and `limit` are in `unit`; None: there is none."""

    name: str
    status: HealthStatus
    message: str
    value: float | None = None
    unit: str = ""
    limit: float | None = None
    hint: str = ""

    def to_json(self) -> dict[str, object]:
        """Return the object of `health --json`."""
        return {
            "name": self.name,
            "status": self.status.value,
            "value": self.value,
            "unit": self.unit,
            "limit": self.limit,
            "message": self.message,
            "hint": self.hint,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> HealthCheck:
        """Make a check from an object of `health --json`; unknown fields are ignored."""
        return cls(
            name=str(data["name"]),
            status=HealthStatus(str(data["status"])),
            message=str(data.get("message", "")),
            value=_number(data.get("value")),
            unit=str(data.get("unit", "")),
            limit=_number(data.get("limit")),
            hint=str(data.get("hint", "")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessUse:
    """What a process and all its children use: `name` is `node` or an agent's; cpu in percent of one core."""

    name: str
    pid: int
    processes: int
    cpu_percent: float
    rss_bytes: int

    def to_json(self) -> dict[str, object]:
        """Return the object of `health --json`."""
        return {
            "name": self.name,
            "pid": self.pid,
            "processes": self.processes,
            "cpu_percent": self.cpu_percent,
            "rss_bytes": self.rss_bytes,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ProcessUse:
        """Make it from an object of `health --json`."""
        return cls(
            name=str(data["name"]),
            pid=int(data["pid"]),
            processes=int(data["processes"]),
            cpu_percent=float(data["cpu_percent"]),
            rss_bytes=int(data["rss_bytes"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemHealth:
    """The whole document. `status` is that of the worst check; what is unknown does not count."""

    node: str
    at_ms: int
    status: HealthStatus
    checks: tuple[HealthCheck, ...]
    processes: tuple[ProcessUse, ...] = ()

    def check(self, name: str) -> HealthCheck:
        """Return the check of that name. Raises KeyError."""
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)

    def to_json(self) -> dict[str, object]:
        """Return the document of `health --json`."""
        return {
            "node": self.node,
            "at_ms": self.at_ms,
            "status": self.status.value,
            "checks": [check.to_json() for check in self.checks],
            "processes": [use.to_json() for use in self.processes],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SystemHealth:
        """Make the document from the answer of the call `health`; unknown fields are ignored."""
        return cls(
            node=str(data["node"]),
            at_ms=int(data["at_ms"]),
            status=HealthStatus(str(data["status"])),
            checks=tuple(HealthCheck.from_json(check) for check in data["checks"]),
            processes=tuple(ProcessUse.from_json(use) for use in data.get("processes", ())),
        )


def overall(checks: Iterable[HealthCheck]) -> HealthStatus:
    """Return the worst status of what is known; unknown when nothing is."""
    known = [check.status for check in checks if check.status is not HealthStatus.UNKNOWN]
    return max(known, key=_WORSE.index, default=HealthStatus.UNKNOWN)


def broker_check(
    *, problem: str, ping_ms: float | None, limit_ms: float, warnings: Iterable[str]
) -> HealthCheck:
    """Judge a broker: whether it answers, how fast, and whether it is one that fits."""
    if ping_ms is None:
        return HealthCheck(
            name="broker",
            status=HealthStatus.FAIL,
            message=f"The broker does not answer: {problem or 'no answer in time'}",
            unit="ms",
            limit=limit_ms,
            hint="Messages for agents of this node go on; the others wait in the outbox.",
        )
    unfit = "; ".join(warnings)
    slow = ping_ms > limit_ms
    told = f"The broker answers in {ping_ms:.1f} ms"
    return HealthCheck(
        name="broker",
        status=HealthStatus.WARN if unfit or slow else HealthStatus.OK,
        message=f"{told}; {unfit}" if unfit else f"{told}.",
        value=round(ping_ms, 2),
        unit="ms",
        limit=limit_ms,
        hint="See what loads it, or the way to it." if slow else "",
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
