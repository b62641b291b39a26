"""Read the audit log of a node, who asked what of its control socket: `audit.log`, older files `audit.log.1`, …"""

from __future__ import annotations

import os
import re
from typing import Any

from nova_torch.reading import json_value

NAME = "audit.log"
ROWS = 1000
_AT = re.compile(rb'\{"at_ms":(\d{1,16})')


def files(directory: str) -> list[str]:
    """Return the files of the log, the newest first."""
    found: list[str] = []
    path = os.path.join(directory, NAME)
    number = 0
    while os.path.lexists(path):
        found.append(path)
        number += 1
        path = os.path.join(directory, f"{NAME}.{number}")
    return found


def read(directory: str, *, since_ms: int = 0, limit: int = ROWS) -> list[dict[str, Any]]:
    """Return the last `limit` entries that are not older than `since_ms` (epoch), the newest last.

    A line that is none (torn by a full disk) is passed over. Raises OSError.
    """
    found: list[dict[str, Any]] = []
    for path in files(directory):
        for line in reversed(_lines(path)):
            if len(found) >= limit:
                return found[::-1]
            entry = _entry(line, since_ms)
            if entry is not None:
                found.append(entry)
    return found[::-1]


def _lines(path: str) -> list[bytes]:
    """Return the lines of one file; none when it went, by a rotation, between listing and opening."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return []
    with os.fdopen(fd, "rb") as file:
        return file.read().splitlines()


def _entry(line: bytes, since_ms: int) -> dict[str, Any] | None:
    at = _AT.match(line)
    if at is None or int(at[1]) < since_ms:
        return None
    try:
        entry = json_value(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
