"""Read which process leads the foreground of a pane: tmux names it by its first word only. Linux, /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass

_READ_BYTES = 8192  # of a command line: the program and its first arguments are what counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """The process that leads the foreground process group of a pane."""

    pid: int
    started: int
    """In ticks since the machine's start: with the pid the name of this very process."""
    argv: tuple[str, ...]

    def is_same(self, other: Front | None) -> bool:
        """Tell whether that is this very process; True when it is not known."""
        return other is None or (self.pid, self.started) == (other.pid, other.started)

    def __repr__(self) -> str:
        return f"<Front {self.pid} {' '.join(self.argv)[:60]!r}>"


def read_front(pane_pid: int) -> Front | None:
    """Return who leads the foreground of the pane of process `pane_pid`; None when that cannot be read.

    Two small files and a third for its words: some 50 µs, so that nothing has to be remembered between two looks.
    """
    try:
        leader = int(_stat(pane_pid)[5])
        if leader <= 0:
            return None
        started = int(_stat(leader)[19])
        words = _read(f"/proc/{leader}/cmdline").rstrip(b"\0").split(b"\0")
    except (OSError, ValueError, IndexError):
        return None
    return Front(pid=leader, started=started, argv=tuple(word.decode("utf-8", "replace") for word in words))


def read_starter(front: Front) -> Front | None:
    """Return the process on the same terminal that started this one: what is in front again when it ends."""
    try:
        stat = _stat(front.pid)
        parent = int(stat[1])
        theirs = _stat(parent)
        if theirs[4] != stat[4]:
            return None
        words = _read(f"/proc/{parent}/cmdline").rstrip(b"\0").split(b"\0")
    except (OSError, ValueError, IndexError):
        return None
    argv = tuple(word.decode("utf-8", "replace") for word in words)
    return Front(pid=parent, started=int(theirs[19]), argv=argv)


def lives(name: str) -> bool:
    """Tell whether the very process `pid.started` still runs, if only stopped."""
    pid, _, started = name.partition(".")
    try:
        stat = _stat(int(pid))
        return stat[0] not in (b"Z", b"X") and int(stat[19]) == int(started)
    except (OSError, ValueError, IndexError):
        return False


def leader_age_s(pane_pid: int) -> float:
    """Return how long the leader of the foreground of a pane has run, in seconds; 0 when that cannot be read."""
    try:
        started = int(_stat(int(_stat(pane_pid)[5]))[19]) / os.sysconf("SC_CLK_TCK")
        return float(_read("/proc/uptime").split()[0]) - started
    except (OSError, ValueError, IndexError):
        return 0.0


def read_name(pid: int) -> str:
    """Return the name of a process as the kernel has it, 15 bytes at most; "" when that cannot be read."""
    try:
        return _read(f"/proc/{pid}/comm").decode("utf-8", "replace").removesuffix("\n")
    except OSError:
        return ""


def read_directory(pid: int) -> str:
    """Return where a process works; "" when that cannot be read, or is no text."""
    try:
        path = os.readlink(f"/proc/{pid}/cwd")
        path.encode("utf-8")
    except (OSError, UnicodeEncodeError):
        return ""
    return path


def _stat(pid: int) -> list[bytes]:
    """Return the fields of /proc/PID/stat after the command: state, parent, group, session, terminal, front…"""
    return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _READ_BYTES)
    finally:
        os.close(descriptor)
