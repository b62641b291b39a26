"""Read the hook calls that were kept in a file while no daemon answered. The shim writes them, one record each.

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
    """Return the kept calls, oldest first, and empty the file. A torn or foreign record ends the reading."""
    aside = f"{path}.reading"
    with contextlib.suppress(FileNotFoundError):
        os.replace(path, aside)
    try:
        with open(aside, "rb") as file:
            raw = file.read()
    except FileNotFoundError:
        return []
    records = list(_records(raw))
    os.unlink(aside)
    return records


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
