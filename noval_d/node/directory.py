"""The directories of a node: who may use its state directory, and where its message files go."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from nova_torch.errors import Conflict, StoreFailed
from noval_d.flock import Held, hold


@contextlib.contextmanager
def locked(directory: str) -> Iterator[None]:
    """Make the state directory and keep every other daemon out of it. Raises Conflict, StoreFailed."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    lock_fd = _lock(directory)
    try:
        yield
    finally:
        os.close(lock_fd)


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
