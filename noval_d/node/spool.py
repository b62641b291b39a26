"""Read the hook calls that were kept in a file while no daemon answered in time: the shim writes one record each.

A record is a 4-byte big-endian length and a msgpack map `{at_ms, pane, tmux, event, payload}`.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Mapping
from typing import Any

import msgpack


def take(path: str) -> list[Mapping[str, Any]]:
    """Return the kept calls, oldest first, and empty the file. A torn or foreign record ends the reading.

    Raises OSError.
    """
    earlier = _read(path)
    _set_aside(path)
    return earlier + _read(path)


def take_settled(path: str) -> list[Mapping[str, Any]]:
    """Return what was set aside by the call before, and set aside what came since: no hook writes into it any more.

    Raises OSError.
    """
    found = _read(path)
    _set_aside(path)
    return found


def _set_aside(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.replace(path, _aside(path))


def _aside(path: str) -> str:
    return f"{path}.reading"


def _read(path: str) -> list[Mapping[str, Any]]:
    """Return what was set aside, and remove it."""
    try:
        with open(_aside(path), "rb") as file:
            raw = file.read()
    except FileNotFoundError:
        return []
    os.unlink(_aside(path))
    return list(_records(raw))


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
