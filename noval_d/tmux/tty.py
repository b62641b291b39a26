"""Ask a pane's own terminal what was read of what was typed. DELIVERY 4.3.

The terminal is opened and asked without reading from it, writing to it, or making it ours.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager

from nova_torch.errors import PaneNotFound

_PF_EXITING = 0x4  # linux/sched.h


def unread_bytes(tty_path: str) -> int:
    """Return how many bytes wait for the pane's program to read them. Raises PaneNotFound.

    A line-buffered terminal counts only whole lines, so text without its Enter is 0 there.
    """
    with _opened(tty_path) as descriptor:
        # What tmux wrote reaches the terminal's queue through a work queue of the kernel, late on a busy
        # machine; a poll that finds nothing waits for that, FIONREAD does not (n_tty_poll of Linux).
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll(0)
        packed = fcntl.ioctl(descriptor, termios.FIONREAD, b"\0" * 4)
    (count,) = struct.unpack("i", packed)
    return int(count)


def is_line_buffered(tty_path: str) -> bool:
    """Return whether the terminal hands over whole lines only (ICANON), and loses those over 4095 bytes.

    Raises PaneNotFound.
    """
    with _opened(tty_path) as descriptor:
        local_flags = termios.tcgetattr(descriptor)[3]
    return bool(local_flags & termios.ICANON)


@contextmanager
def _opened(tty_path: str) -> Iterator[int]:
    try:
        descriptor = os.open(tty_path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise PaneNotFound(f"cannot open the pane's terminal {tty_path}: {error.strerror}.") from error
    try:
        yield descriptor
    except (OSError, termios.error) as error:
        raise PaneNotFound(f"{tty_path} is no terminal of a pane any more: {error}.") from error
    finally:
        os.close(descriptor)


def in_front(pane_pid: int) -> bool:
    """Tell whether what is in the foreground of the pane of process `pane_pid` lives, and is not about to end.

    An ending process is marked (PF_EXITING) before its terminal is closed, and with it what it left unread.
    """
    pane = _stat(pane_pid)
    if pane is None or _ending(pane):
        return False
    group = int(pane[5])
    if group <= 0:
        return True  # no job control: the pane's own process reads
    leader = _stat(group)
    if leader is not None:
        return not _ending(leader)
    try:
        os.killpg(group, 0)  # a pipeline outlives the process that gave it its number
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat after the command: state, parent, group, session, terminal, front…"""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return None


def _ending(stat: list[str]) -> bool:
    return stat[0] in {"Z", "X"} or bool(int(stat[6]) & _PF_EXITING)
