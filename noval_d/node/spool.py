"""Read the hook calls that were kept in a file while no daemon answered in time: the shim writes one record each.

A record is a 4-byte big-endian length and a msgpack map `{at_ms, pane, tmux, event, payload}`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from typing import Any

import msgpack


def take(path: str) -> list[Mapping[str, Any]]:
    """Return the kept calls, oldest first, and empty the file. A torn or foreign record ends the reading.

    Raises OSError.
    """
    earlier = take_aside(path)
    return earlier + take_aside(path) if set_aside(path) else earlier


def set_aside(path: str) -> bool:
    """Set aside what was kept; return whether there was anything. Hooks that run now may still write into it."""
    if not os.access(path, os.F_OK):  # asked each second: a tenth of what a try costs
        return False
    try:
        os.replace(path, _aside(path))
    except FileNotFoundError:
        return False
    return True


def take_aside(path: str) -> list[Mapping[str, Any]]:
    """Return what was set aside, oldest first, and remove it. Raises OSError."""
    try:
        with open(_aside(path), "rb") as file:
            raw = file.read()
    except FileNotFoundError:
        return []
    os.unlink(_aside(path))
    return list(_records(raw))


def _aside(path: str) -> str:
    return f"{path}.reading"


def _records(raw: bytes) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    position = 0
    while position + 4 <= len(raw):
        (length,) = struct.unpack_from(">I", raw, position)
        body = raw[position + 4 : position + 4 + length]
        position += 4 + length
        if len(body) < length:
            break
        try:
            record = msgpack.unpackb(body)
        except (ValueError, msgpack.UnpackException):
            break
        if isinstance(record, dict):
            found.append(record)
    return found
