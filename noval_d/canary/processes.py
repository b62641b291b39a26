"""End every process that lives in a given HOME, each by its own pid."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil

TERM_LIMIT_S = 3.0
KILL_LIMIT_S = 5.0


def living_in(home: Path) -> list[psutil.Process]:
    """The processes started with this HOME, the calling one never among them."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("HOME") == str(home) and process.pid != psutil.Process().pid:
                found.append(process)
        except psutil.Error:
            continue  # it ended meanwhile, or is another user's: not ours
    return found


def end_all(home: Path) -> None:
    """Ask them to end, then make them; stopped ones are continued first, or they could not hear it."""
    processes = living_in(home)
    for process in processes:
        _signal(process, "terminate")
        _signal(process, "resume")
    psutil.wait_procs(processes, timeout=TERM_LIMIT_S)
    left = living_in(home)
    for process in left:
        _signal(process, "kill")
    psutil.wait_procs(left, timeout=KILL_LIMIT_S)


def _signal(process: psutil.Process, action: str) -> None:
    with contextlib.suppress(psutil.Error):  # it may have ended
        getattr(process, action)()
