"""Read what a broker says of itself, and warn of what does not fit. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass

DRAGONFLY_FLOOR = (1, 40, 1)
"""Before 1.40 COUNT was ignored on wake, before 1.37 XREADGROUP was not replicated. BROKER, section 1."""
REDIS_FLOOR = (7, 0)
"""BZMPOP."""

_REPLID = re.compile(rb"^master_replid:(.*?)\r?$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerInfo:
    """Which server answers. `kind` is dragonfly, valkey or redis; `warnings` are sentences for people."""

    kind: str
    version: str
    replid: str
    warnings: tuple[str, ...] = ()
    unusable: str = ""
    """Why nothing works with it; empty when it does."""


def parse_info(text: str) -> BrokerInfo:
    """Make a BrokerInfo from the reply of INFO (sections server, memory and replication)."""
    fields = dict(
        line.split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#")
    )
    kind, version = _identity(fields)
    return BrokerInfo(
        kind=kind,
        version=version,
        replid=fields.get("master_replid", ""),
        warnings=tuple(_warnings(kind, version, fields)),
        unusable=_unusable(kind, version, fields),
    )


def replid(info: bytes) -> str:
    """Return the id of the data that a server has, out of its INFO (section replication)."""
    found = _REPLID.search(info)
    return found[1].decode(errors="replace") if found else ""


def _identity(fields: dict[str, str]) -> tuple[str, str]:
    if "dragonfly_version" in fields:
        return "dragonfly", fields["dragonfly_version"].removeprefix("df-").removeprefix("v")
    if "valkey_version" in fields:
        return "valkey", fields["valkey_version"]
    return "redis", fields.get("redis_version", "")


def _unusable(kind: str, version: str, fields: dict[str, str]) -> str:
    if "sentinel" in (fields.get("redis_mode"), fields.get("server_mode")):  # Valkey calls it so
        return (
            "this is a Sentinel and no broker: redis+sentinel:// and the service's name ask it where that is."
        )
    if kind == "redis" and _numbers(version) < REDIS_FLOOR:
        return f"the broker is Redis {version or 'of unknown version'}; 7.0 is the oldest that has what is needed."
    return ""


def _warnings(kind: str, version: str, fields: dict[str, str]) -> list[str]:
    found = []
    if kind == "dragonfly" and _numbers(version) < DRAGONFLY_FLOOR:
        found.append(f"DragonflyDB {version or 'of unknown version'} is older than 1.40.1; update it.")
    policy = fields.get("maxmemory_policy", "noeviction")
    if kind != "dragonfly" and policy != "noeviction":
        found.append(
            f"the broker evicts keys when memory is short (maxmemory-policy {policy}): set noeviction."
        )
    if fields.get("cache_mode") == "cache":
        found.append("DragonflyDB runs as a cache and evicts keys: start it without --cache_mode.")
    return found


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
