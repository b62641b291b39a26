"""Find out from the kernel in whose pane a caller runs: what it says of itself may be left out or be wrong."""

from __future__ import annotations

import os
from collections.abc import Iterable

from noval_d.agents.agent import Agent

MAX_STEPS = 64


def agent_behind(pid: int, agents: Iterable[Agent]) -> Agent | None:
    """Return the agent in whose pane process `pid` runs: below the pane's process, or on its terminal."""
    chain, terminals = _ancestry(pid)
    for agent in agents:
        facts = agent.facts
        if facts is not None and (facts.pid in chain or _device(facts.tty) in terminals):
            return agent
    return None


def _ancestry(pid: int) -> tuple[set[int], set[int]]:
    """Return `pid` with all its parents, and the controlling terminals of these."""
    chain: set[int] = set()
    terminals: set[int] = set()
    while pid > 1 and pid not in chain and len(chain) < MAX_STEPS:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
            chain.add(pid)
            terminals.add(int(fields[4]))
            pid = int(fields[1])
        except (OSError, ValueError, IndexError):
            break
    return chain, terminals - {0}


def _device(tty: str) -> int:
    try:
        return os.stat(tty).st_rdev
    except (OSError, ValueError):
        return -1
