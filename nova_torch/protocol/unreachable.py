"""Say in one sentence, with a cure, why the daemon cannot be reached. Light: the hot commands import it."""

from __future__ import annotations

import errno
import os
import stat

from nova_torch.errors import DaemonUnreachable

PATH_BYTES = 107  # sun_path of unix(7) is 108 bytes with its closing zero

_START = "Start it: novactl up"
_ANOTHER = "Name another socket: --socket or NOVA_SOCKET"


def unreachable(path: str, why: str, cure: str = _START) -> DaemonUnreachable:
    """Return the error `cannot reach nova-torchd at PATH: WHY. CURE`."""
    return DaemonUnreachable(f"cannot reach nova-torchd at {path}: {why}.", cure)


def too_long(path: str) -> DaemonUnreachable | None:
    """Return the error when `path` is longer than the kernel takes, None when it is not."""
    size = len(os.fsencode(path))
    if size <= PATH_BYTES:
        return None
    why = f"the path has {size} bytes, a socket's path takes {PATH_BYTES}"
    return unreachable(path, why, "Name a shorter one: --socket or NOVA_SOCKET")


def from_os_error(path: str, error: OSError) -> DaemonUnreachable:
    """Return what a failed connect to `path` means."""
    code = error.errno
    if isinstance(error, TimeoutError):
        return unreachable(path, "it does not answer", "See what it does: its log, or novactl doctor")
    if code == errno.ENOENT:
        return unreachable(path, "not running")
    if code in (errno.EACCES, errno.EPERM):
        why = "permission denied"
        return unreachable(path, why, "Run this as the daemon's user, or be named in its configuration")
    if code == errno.EAGAIN:
        why = "it takes no connections (its queue is full)"
        return unreachable(path, why, "See what it does: its log, or novactl doctor")
    if code in (errno.ECONNREFUSED, errno.ENOTSOCK):
        return _refused(path)
    if code in (errno.ENOTDIR, errno.ELOOP):
        return unreachable(path, "no such path (a part of it is not a directory)", _ANOTHER)
    if code in (errno.ECONNRESET, errno.EPIPE):
        return hung_up(path)
    if code == errno.EPROTOTYPE:
        return not_ours(path)
    return unreachable(path, os.strerror(code) if code else str(error))


def not_ours(path: str) -> DaemonUnreachable:
    """Return the error for a socket behind which another program answers."""
    return unreachable(path, "another program answers there", _ANOTHER)


def hung_up(path: str) -> DaemonUnreachable:
    """Return the error for a daemon that closed the connection before it answered."""
    return unreachable(path, "it closed the connection", "See why: its log, or novactl doctor")


def _refused(path: str) -> DaemonUnreachable:
    """Linux answers ECONNREFUSED for a stale socket and for what is no socket at all."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return unreachable(path, "not running")
    if stat.S_ISDIR(mode):
        return unreachable(path, "it is a directory, not a socket", _ANOTHER)
    if not stat.S_ISSOCK(mode):
        return unreachable(path, "it is a file, not a socket", _ANOTHER)
    return unreachable(path, "not running (the socket is left over from one that died)")
