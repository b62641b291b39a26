"""The directories of a node: who may use its state directory, and where its message files go."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from nova_torch.errors import Conflict, StoreFailed
from noval_d.flock import Held, hold

log = logging.getLogger("nova.node")


@contextlib.contextmanager
def locked(directory: str) -> Iterator[None]:
    """Make the state directory and keep every other daemon out of it; at the end nothing empty stays elsewhere.

    Raises Conflict, StoreFailed.
    """
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
    except OSError as error:
        raise StoreFailed(
            f"the state directory {directory} cannot be made: {error.strerror}.",
            "Make its parent writable, or give another: NOVA_STATE_DIR",
        ) from None
    _own(directory)
    lock_fd = _lock(directory)
    try:
        yield
    finally:
        # what tmux may not have read yet is kept in it, and swept by the next start
        with contextlib.suppress(OSError):
            message_directory(Path(directory)).rmdir()
        os.close(lock_fd)


def _own(directory: str) -> None:
    """See that nobody else can put anything into the directory. Raises StoreFailed when it is somebody else's."""
    found = os.stat(directory)
    if found.st_uid != os.geteuid():
        raise StoreFailed(
            f"the state directory {directory} belongs to user {found.st_uid}, who could replace what is in it.",
            f"Give it to this user (chown {os.geteuid()} {directory}), or set another: NOVA_STATE_DIR",
        )
    if stat.S_IMODE(found.st_mode) & 0o022:
        os.chmod(directory, stat.S_IMODE(found.st_mode) & ~0o022)
        log.warning("node.directory_closed", extra={"path": directory, "mode": oct(found.st_mode & 0o7777)})


def _lock(directory: str) -> int:
    try:
        return hold(os.path.join(directory, "lock"))
    except Held as other:
        named = f" (pid {other.pid})" if other.pid else ""
        raise Conflict(
            f"another nova-torchd{named} already uses the state directory {directory}.",
            "Stop it (novactl down), or give this one its own: NOVA_STATE_DIR",
        ) from None
    except OSError as error:
        raise StoreFailed(
            f"the state directory {directory} cannot be locked: {error.strerror}.", "Make it writable."
        ) from None


def identity(state: Path) -> str:
    """Return what tells this daemon from another one of its name, for example on a copy of its directory."""
    import hashlib
    import platform

    try:
        machine = Path("/etc/machine-id").read_text(encoding="utf-8").strip()
    except OSError:
        machine = ""
    marks = f"{machine}|{platform.node()}|{state.resolve()}|{state.stat().st_ino}"
    return hashlib.sha256(os.fsencode(marks)).hexdigest()[:24]


def message_directory(state: Path) -> Path:
    """Return where message files go: a memory file system if there is one (DELIVERY 1)."""
    memory = Path("/dev/shm")  # noqa: S108 - a directory of mode 0700 of our own below it
    own = state / "messages"
    if not os.access(memory, os.W_OK):
        return own
    import hashlib

    mark = hashlib.sha256(os.fsencode(state.resolve())).hexdigest()[:12]
    shared = memory / f"nova-torch-{os.getuid()}-{mark}"
    try:
        owner = shared.lstat().st_uid
    except FileNotFoundError:
        return shared
    return (
        shared if owner == os.geteuid() else own
    )  # anybody may have made it, to keep this node from starting
