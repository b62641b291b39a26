"""Make the listening socket, for one daemon only: flock, dial probe, umask; or take the one systemd made."""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
from dataclasses import dataclass

from nova_torch.errors import ConfigInvalid, Conflict, StoreFailed
from nova_torch.protocol.unreachable import PATH_BYTES
from noval_d.control.peers import Permissions, read_credentials
from noval_d.flock import Held, hold

log = logging.getLogger("nova.control")

BACKLOG = 128
FIRST_PASSED_FD = 3  # SD_LISTEN_FDS_START of sd_listen_fds(3)


@dataclass(slots=True, kw_only=True)
class Listener:
    """A listening control socket that this process alone owns; `close` gives it back."""

    sock: socket.socket
    path: str
    lock_fd: int
    inode: tuple[int, int] | None  # of the socket file to remove at the end; None: systemd keeps it

    @property
    def in_place(self) -> bool:
        """Whether callers still find this socket at its path."""
        return self.inode is None or _inode(self.path) == self.inode

    def stop_listening(self) -> None:
        """Take no more connections and remove the socket file if it is still ours; again is fine."""
        self.sock.close()
        if self.inode is not None and _inode(self.path) == self.inode:
            os.unlink(self.path)
        self.inode = None

    def close(self) -> None:
        """Stop listening and release the lock; again is fine."""
        self.stop_listening()
        if self.lock_fd >= 0:
            os.close(self.lock_fd)  # the file stays: removing it would race with the next daemon's flock
            self.lock_fd = -1


def listen(path: str, may: Permissions) -> Listener:
    """Return a listening socket at `path`, or the one that systemd passed to this process.

    Raises Conflict when another daemon runs there or the path is taken by something that is no socket,
    StoreFailed when the directory cannot be used, ConfigInvalid for a path that is too long.
    """
    passed = _passed_by_systemd()
    if passed is not None:
        path = str(passed.getsockname())
        lock_fd = _lock(path)
        log.info("control.activated", extra={"path": path})
        return Listener(sock=passed, path=path, lock_fd=lock_fd, inode=None)
    if len(os.fsencode(path)) > PATH_BYTES:
        raise ConfigInvalid(
            f"the control socket's path {path} is longer than {PATH_BYTES} bytes.",
            "Set a shorter one: NOVA_SOCKET",
        )
    try:
        os.makedirs(os.path.dirname(path) or ".", mode=0o700 if may.mode == 0o600 else 0o755, exist_ok=True)
    except OSError as error:
        raise _unusable(path, error) from error
    lock_fd = _lock(path)
    try:
        _clear(path)
        sock = _bind(path, may)
    except BaseException:
        os.close(lock_fd)
        raise
    return Listener(sock=sock, path=path, lock_fd=lock_fd, inode=_inode(path))


def listen_again(lost: Listener, may: Permissions) -> Listener:
    """Return a new socket at the path of a listener whose file was removed; close the old one.

    Raises Conflict when another daemon is there by now, StoreFailed when the directory cannot be used.
    """
    lock = f"{lost.path}.lock"
    held = os.fstat(lost.lock_fd)
    if _inode(lock) == (held.st_dev, held.st_ino):
        _clear(lost.path)
        sock = _bind(lost.path, may)
        made = Listener(sock=sock, path=lost.path, lock_fd=lost.lock_fd, inode=_inode(lost.path))
        lost.lock_fd = -1
    else:
        made = listen(lost.path, may)
    lost.close()
    return made


def _lock(path: str) -> int:
    """Take the lock beside the socket; it ends with this process, however that ends."""
    name = f"{path}.lock"
    try:
        return hold(name)
    except Held as other:
        raise _second(path, other.pid) from None
    except OSError as error:
        raise _unusable(name, error) from error


def _clear(path: str) -> None:
    """Remove a stale socket file. Whatever else is at `path` is left alone and named."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unusable(path, error) from error
    if not stat.S_ISSOCK(mode):
        what = "a directory" if stat.S_ISDIR(mode) else "a link" if stat.S_ISLNK(mode) else "a file"
        raise Conflict(
            f"cannot listen at {path}: {what} is in its place.", "Remove it, or set another: NOVA_SOCKET"
        )
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.setblocking(False)
        probe.connect(path)
    except ConnectionRefusedError:
        log.info("control.stale_socket_removed", extra={"path": path})
    except FileNotFoundError:
        return
    except BlockingIOError:  # its queue is full: it lives, and answers nobody
        raise _second(path, "") from None
    except OSError as error:
        if error.errno != errno.EPROTOTYPE:
            raise _unusable(path, error) from error
        raise Conflict(
            f"cannot listen at {path}: another program's socket is there.", "Set another: NOVA_SOCKET"
        ) from None
    else:
        raise _second(path, str(read_credentials(probe).pid))
    finally:
        probe.close()
    try:
        os.unlink(path)
    except OSError as error:
        raise _unusable(path, error) from error


def _bind(path: str, may: Permissions) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        before = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(before)
        if may.mode != 0o600:
            if may.reading_group is not None:
                os.chown(path, -1, may.reading_group)
            os.chmod(path, may.mode)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise _unusable(path, error) from error
    return sock


def _passed_by_systemd() -> socket.socket | None:
    """Return the socket of systemd's activation (sd_listen_fds(3)), None without one."""
    pid, count = os.environ.get("LISTEN_PID"), os.environ.get("LISTEN_FDS")
    if pid != str(os.getpid()) or not count:
        return None
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)  # they are not for our children
    if count != "1":
        raise ConfigInvalid(
            f"systemd passed {count} sockets, one is expected.", "Name one ListenStream= in the .socket unit."
        )
    os.set_inheritable(FIRST_PASSED_FD, False)
    try:
        sock = socket.socket(fileno=FIRST_PASSED_FD)
        listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ConfigInvalid(
            "what systemd passed is not a socket.", "Use ListenStream= with a path."
        ) from error
    if sock.family != socket.AF_UNIX or sock.type != socket.SOCK_STREAM or not listening:
        sock.close()
        raise ConfigInvalid(
            "what systemd passed is not a listening Unix socket.", "Use ListenStream= with a path."
        )
    sock.setblocking(False)
    return sock


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _second(path: str, pid: str) -> Conflict:
    named = f" (pid {pid})" if pid.isdecimal() else ""
    return Conflict(
        f"another nova-torchd{named} already serves {path}.",
        "Use that one, stop it (novactl down), or set another socket: NOVA_SOCKET",
    )


def _unusable(path: str, error: OSError) -> StoreFailed:
    return StoreFailed(
        f"cannot use {path}: {error.strerror or error}.",
        "Make its directory writable, or set another: NOVA_SOCKET",
    )
