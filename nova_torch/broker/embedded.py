"""Run a broker of our own: a server on a Unix socket in one directory, which outlives a killed daemon.

The server is nobody's child and in a session of its own, so neither a Ctrl-C nor a `kill -9` of the daemon
ends it; the next start adopts it. A lock on `broker.lock`, inherited by the server, says exactly whether one
lives in the directory: the kernel lets go of it when the process is gone, whatever the files say.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import select
import signal
import stat
import subprocess
import time
from collections.abc import Iterator

from nova_torch.broker.probe import Answer, Probe, probe, shut_down
from nova_torch.broker.servers import Server, find_server
from nova_torch.errors import BrokerUnavailable, ConfigInvalid, Conflict, StoreFailed

log = logging.getLogger("nova.broker")

SOCKET_NAME = "broker.sock"
PID_NAME = "broker.pid"
LOG_NAME = "broker.log"
LOCK_NAME = "broker.lock"
SOCKET_PATH_BYTES = 107  # sun_path is 108 with its NUL
LOG_BYTES = 4 * 1024 * 1024
PROBE_S = 1.0
POLL_S = 0.02

# The shell leaves at once, so that the server belongs to init; its pid comes back on stdout.
_LAUNCH = '"$@" >>"$0" 2>&1 </dev/null & echo $!'


class EmbeddedBroker:
    """A running server. Make it with `start`; it goes on when this object is gone."""

    def __init__(self, directory: str, *, pid: int, kind: str, adopted: bool) -> None:
        self.directory = directory
        self.pid = pid
        self.kind = kind
        self.adopted = adopted

    @classmethod
    async def start(
        cls, directory: str, *, timeout_s: float = 30.0, server: Server | None = None
    ) -> EmbeddedBroker:
        """Adopt the server that runs in `directory`, else start one; return when it answers.

        Raises BrokerUnavailable (no server on this machine, it ends at once, it does not answer in time),
        Conflict (something is in the place of the socket), ConfigInvalid (the path is too long for a socket),
        StoreFailed (the directory cannot be made).
        """
        return await asyncio.to_thread(_start, directory, timeout_s, server)

    @property
    def socket_path(self) -> str:
        """The path of its Unix socket."""
        return os.path.join(self.directory, SOCKET_NAME)

    @property
    def url(self) -> str:
        """What `Broker.connect` takes."""
        return f"unix://{self.socket_path}"

    async def stop(self, *, timeout_s: float = 10.0) -> None:
        """End the server: SHUTDOWN, then SIGTERM, then SIGKILL, each with `timeout_s`. Its data stay.

        Raises BrokerUnavailable when it is still there after all three.
        """
        with _pidfd(self.pid) as handle:
            if handle is not None:
                await _end(handle, self.pid, self.socket_path, timeout_s)
        for name in (SOCKET_NAME, PID_NAME):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self.directory, name))
        log.info("broker.stopped", extra={"pid": self.pid})

    def __repr__(self) -> str:
        how = "adopted" if self.adopted else "started"
        return f"<EmbeddedBroker {self.kind} {how} pid={self.pid} {self.directory}>"


def _start(directory: str, timeout_s: float, server: Server | None) -> EmbeddedBroker:
    deadline = time.monotonic() + timeout_s
    directory = os.path.abspath(directory)
    path = os.path.join(directory, SOCKET_NAME)
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
        raise ConfigInvalid(
            f"the path of the broker's socket is longer than {SOCKET_PATH_BYTES} bytes: {path}.",
            "Choose a shorter state directory (NOVA_STATE_DIR).",
        )
    _make_private(directory)
    _refuse_other_things(path)
    while (lock := _lock(directory)) is None:
        found = probe(path, timeout_s=PROBE_S)
        if found.answer is Answer.READY:
            log.info("broker.adopted", extra={"pid": found.pid, "kind": found.kind, "directory": directory})
            return EmbeddedBroker(directory, pid=found.pid, kind=found.kind, adopted=True)
        if time.monotonic() >= deadline:
            raise BrokerUnavailable(
                f"a broker runs in {directory} (pid {_known_pid(directory, found)}) and does not answer.",
                "Continue or end that process, then start again.",
            )
        time.sleep(POLL_S)
    try:
        pid = _launch(server or find_server(), directory, path, lock)
    finally:
        os.close(lock)
    with _pidfd(pid) as handle:
        return _started(directory, path, pid, handle, deadline)


def _started(directory: str, path: str, pid: int, handle: int | None, deadline: float) -> EmbeddedBroker:
    """Wait until the new server answers; end it when it does not."""
    while handle is not None and not _is_over(handle):
        found = probe(path, timeout_s=PROBE_S)
        if found.answer is Answer.READY:
            log.info("broker.started", extra={"pid": pid, "kind": found.kind, "directory": directory})
            return EmbeddedBroker(directory, pid=pid, kind=found.kind, adopted=False)
        if time.monotonic() >= deadline:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            raise BrokerUnavailable(
                f"the broker's server did not answer in time: {_last_line(directory)}",
                f"See {os.path.join(directory, LOG_NAME)}.",
            )
        time.sleep(POLL_S)
    raise BrokerUnavailable(
        f"the broker's server ended at once: {_last_line(directory)}",
        f"See {os.path.join(directory, LOG_NAME)}.",
    )


def _make_private(directory: str) -> None:
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        os.chmod(directory, 0o700)
    except OSError as error:
        raise StoreFailed(
            f"cannot make the broker's directory {directory}: {error.strerror}.",
            "Choose another NOVA_STATE_DIR.",
        ) from error


def _refuse_other_things(path: str) -> None:
    """A socket may lie there, stale or not; anything else is somebody's and stays."""
    with contextlib.suppress(FileNotFoundError):
        mode = os.lstat(path).st_mode
        if not stat.S_ISSOCK(mode):
            what = "a directory" if stat.S_ISDIR(mode) else "not a socket"
            raise Conflict(f"{path} is {what}; the broker's socket belongs there.", "Move it away.")


def _lock(directory: str) -> int | None:
    """Take the directory's lock and return its descriptor, or None when a server (or a start) holds it."""
    try:
        lock = os.open(os.path.join(directory, LOCK_NAME), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreFailed(
            f"cannot write in the broker's directory {directory}: {error.strerror}.",
            "Check its owner and space.",
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _launch(server: Server, directory: str, path: str, lock: int) -> int:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    log_path = os.path.join(directory, LOG_NAME)
    with contextlib.suppress(OSError):
        if os.path.getsize(log_path) > LOG_BYTES:
            os.replace(log_path, log_path + ".1")
    try:
        shell = subprocess.run(
            ["/bin/sh", "-c", _LAUNCH, log_path, *server.arguments(directory, path)],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(lock,),
            umask=0o077,
            timeout=5.0,
            check=True,
        )
        pid = int(shell.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise BrokerUnavailable(f"cannot start {server.binary}: {error}.") from error
    with open(
        os.open(os.path.join(directory, PID_NAME), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w"
    ) as file:
        file.write(f"{pid}\n")
    return pid


def _known_pid(directory: str, found: Probe) -> str:
    with contextlib.suppress(OSError):
        if not found.pid:
            with open(os.path.join(directory, PID_NAME)) as file:
                return file.read().strip()
    return str(found.pid or "unknown")


def _last_line(directory: str) -> str:
    try:
        with open(os.path.join(directory, LOG_NAME), errors="replace") as file:
            lines = file.read()[-4096:].split("\n")
    except OSError:
        return "no log"
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "it said nothing")


@contextlib.contextmanager
def _pidfd(pid: int) -> Iterator[int | None]:
    """Give a handle that means this very process, or None when it is gone."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield handle
    finally:
        os.close(handle)


def _is_over(handle: int) -> bool:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(0))


async def _readable(handle: int) -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_reader(handle, over.set)
    try:
        await over.wait()
    finally:
        loop.remove_reader(handle)


async def _end(handle: int, pid: int, path: str, timeout_s: float) -> None:
    for step in ("SHUTDOWN", signal.SIGTERM, signal.SIGKILL):
        if isinstance(step, signal.Signals):
            log.warning("broker.signalled", extra={"pid": pid, "signal": step.name})
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, step)
        elif not await asyncio.to_thread(shut_down, path, pid, timeout_s=PROBE_S):
            continue
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(_readable(handle), timeout_s)
            return
    raise BrokerUnavailable(f"the embedded broker (pid {pid}) does not end, not even when killed.")
