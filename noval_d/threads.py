"""How long a thread of the daemon that could go on waits until the one that runs lets it."""

from __future__ import annotations

import sys

TURN_S = 0.0005
"""Python's own is 5 ms, several times as long as a commit. While the loop has work to do, the thread that commits
waits so long before it can begin, and again when the disk is done. For the simulated fleet, 150 nodes and their
threads in one loop's process, either is the same (`python -m benchmarks fleet`)."""


def take_turns() -> None:
    """Let the threads of this process take turns so often. To be called where its event loop is begun."""
    sys.setswitchinterval(TURN_S)
