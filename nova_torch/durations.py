"""Read and write durations such as 30s, 5m, 2h. Light: the hot commands import it."""

from __future__ import annotations

from nova_torch.errors import InvalidRequest

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str) -> float:
    """Return the seconds of `500ms`, `30s`, `5m`, `2h`, `1d` or a bare number of seconds.

    Raises InvalidRequest for anything else, for a negative and for an infinite one.
    """
    stripped = text.strip().lower()
    number = stripped.rstrip("abcdefghijklmnopqrstuvwxyz")
    factor = _UNITS.get(stripped[len(number) :] or "s")
    try:
        value = float(number) * factor if factor is not None else -1.0
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e10:
        raise InvalidRequest(f"{text!r} is not a duration.", "Write it as 30s, 5m or 2h.")
    return value


def spoken(value_s: float) -> str:
    """Return a short form for people: `850ms`, `4.2s`, `3m`, `2h`, `5d`."""
    if value_s < 1:
        return f"{value_s * 1000:.0f}ms"
    if value_s < 10:
        return f"{value_s:.1f}s"
    for limit, factor, unit in ((120, 1, "s"), (7200, 60, "m"), (172800, 3600, "h")):
        if value_s < limit:
            return f"{value_s / factor:.0f}{unit}"
    return f"{value_s / 86400:.0f}d"
