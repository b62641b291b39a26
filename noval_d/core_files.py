"""Leave no core file of the daemon: it would hold bodies, keys and passwords. Its tmux server may leave one.

Not PR_SET_DUMPABLE: with it the daemon's user could not look at the daemon any more (/proc, py-spy, strace).
"""

from __future__ import annotations

import contextlib
import resource

NONE = 1
"""Bytes. Less than any core file has, and the one limit with which Linux gives no memory to a program that
core_pattern names either (fs/coredump.c): with 0 such a program gets all of it and decides itself."""

_before = 0


def leave_none() -> None:
    """Set the soft limit of this process, which its children inherit. The hard one stays."""
    global _before  # a limit of the process is as global as can be
    _before, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0 if hard == 0 else NONE, hard))


def give_back(pid: int) -> None:
    """Give a process that we started for others the limit that we were started with. One that is gone is fine."""
    with contextlib.suppress(ProcessLookupError):
        soft, hard = resource.prlimit(pid, resource.RLIMIT_CORE)
        if soft == NONE:
            resource.prlimit(pid, resource.RLIMIT_CORE, (_before, hard))
