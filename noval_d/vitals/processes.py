"""Measure what the node and each agent use: a process with all its children. Blocks for a moment: for a thread."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence

import psutil

from nova_torch.monitoring.health import ProcessUse

SAMPLE_S = 0.2  # between two looks at the processor time


def measure(roots: Mapping[str, int]) -> list[ProcessUse]:
    """Return what each tree uses; `roots` are names and pids. One whose process is gone is left out."""
    parents: dict[int, int] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            parents[process.pid] = process.ppid()
    trees = grown(parents, roots)
    found = {pid: psutil.Process(pid) for tree in trees.values() for pid in tree if psutil.pid_exists(pid)}
    before = {pid: _cpu_s(process) for pid, process in found.items()}
    begun = time.monotonic()
    time.sleep(SAMPLE_S)
    span_s = time.monotonic() - begun
    uses: list[ProcessUse] = []
    for name, tree in trees.items():
        living = [pid for pid in tree if pid in found]
        if not living or tree[0] != living[0]:
            continue
        used_s = sum(max(0.0, _cpu_s(found[pid]) - before[pid]) for pid in living)
        uses.append(
            ProcessUse(
                name=name,
                pid=tree[0],
                processes=len(living),
                cpu_percent=round(100 * used_s / span_s, 1),
                rss_bytes=sum(_rss(found[pid]) for pid in living),
            )
        )
    return uses


def grown(parents: Mapping[int, int], roots: Mapping[str, int]) -> dict[str, Sequence[int]]:
    """Return each root with its descendants, the root first. What belongs to another root is only that one's."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    tops = set(roots.values())
    trees: dict[str, Sequence[int]] = {}
    for name, root in roots.items():
        tree, at = [root], 0
        while at < len(tree):
            tree += [pid for pid in children.get(tree[at], ()) if pid not in tops]
            at += 1
        trees[name] = tree
    return trees


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
        return float(times.user + times.system)
    except psutil.Error:
        return 0.0


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
