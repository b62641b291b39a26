"""Hold a lock file for as long as this process lives; its holder's pid stands in it."""

from __future__ import annotations

import fcntl
import logging
import os

log = logging.getLogger("nova.lock")


class Held(Exception):
    """Another process has the lock. `pid` is its id, empty when the file does not tell."""

    def __init__(self, pid: str) -> None:
        super().__init__(pid)
        self.pid = pid


def hold(path: str) -> int:
    """Lock `path` (made 0600); return the descriptor that holds it until it is closed. Raises Held, OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
        os.close(fd)
        raise Held(pid if pid.isdecimal() else "") from None
    except OSError:
        os.close(fd)
        raise
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:  # a full disk: the lock holds all the same, only the pid is not named
        log.warning("lock.not_named", extra={"path": path, "error": error.strerror})
    return fd
