"""Give SQLite's write-ahead log its length at once: a commit into a file that grows waits for the file system too.

SQLite writes the log from its beginning again after each checkpoint, and does not shorten it: behind the first
CHECKPOINT_PAGES pages a commit waits for its own bytes only. Until then, some thirty messages, it waits for the
journal of the file system as well, and for what others have in that.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3

CHECKPOINT_PAGES = 1000  # SQLite's own number
LOG_BYTES = (CHECKPOINT_PAGES + 24) * (4096 + 24)
"""So long it becomes by itself: a page is 4096 bytes with 24 before them, and the last commit may go beyond."""
PIECE = bytes(4096)
"""Written at once, the log would lie in the page cache in few large pieces; each commit would walk through one."""
FREE_BYTES = 16 * LOG_BYTES
"""A disk with less room than this keeps it."""


def lengthen(connection: sqlite3.Connection, path: str) -> None:
    """Write zeros behind what is in the log of the file at `path`, once that has a log; without room do nothing.

    SQLite reads the log as far as each page fits to the one before it, and zeros never do: whoever is killed here
    leaves a log that is as good as before. Nobody writes to it meanwhile, since `connection` has the lock for that;
    who reads it does not look behind what was committed.
    """
    with contextlib.suppress(OSError, sqlite3.Error):
        connection.execute("BEGIN IMMEDIATE")
        try:
            log = os.open(f"{path}-wal", os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                _fill(log)
            finally:
                os.close(log)
        finally:
            connection.execute("ROLLBACK")


def _fill(log: int) -> None:
    length, disk = os.fstat(log).st_size, os.fstatvfs(log)
    if disk.f_bavail * disk.f_frsize < FREE_BYTES:
        return
    at = length
    try:
        while at < LOG_BYTES:
            at += os.pwrite(log, PIECE[: min(len(PIECE) - at % len(PIECE), LOG_BYTES - at)], at)
    finally:
        if length < at < LOG_BYTES:
            os.ftruncate(log, length)
