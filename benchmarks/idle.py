"""Measure what a node costs that only watches: processor and memory with fifty and two hundred agents."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Report
from benchmarks.stage import BenchNode, Panes, bench_node, register_all
from tests.lab.tmux import PROGRAMS
from tests.support.agents import READY, _claude, tui
from tests.support.node import until

AGENTS = 50
WATCHED = 200
WATCH_CPU_LIMIT = 0.02
BUSY, BUSY_S = 20, 600.0
SETTLE_S = 8.0
WATCH_S = 40.0
CPU_LIMIT, MEMORY_LIMIT_MB = 0.01, 80.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used and holds: seconds of processor time, MB."""

    cpu_s: float
    rss_mb: float
    pss_mb: float


def usage(pid: int) -> Usage:
    """Ask the kernel; processor time to the nanosecond, all threads together."""
    ran = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        ran += int(_read(f"/proc/{pid}/task/{task}/schedstat").split()[0])
    memory = dict(_sizes(_read(f"/proc/{pid}/smaps_rollup").splitlines()[1:]))
    return Usage(ran / 1e9, memory["Rss"] / 1024, memory["Pss"] / 1024)


def run() -> list[Report]:
    report = Report(
        title=f"Idle with {AGENTS} agents",
        columns=("CPU % of a core", "RSS MB", "PSS MB", "broker CPU %", "broker RSS MB", "tmux CPU %"),
    )
    with bench_node() as node, tempfile.TemporaryDirectory(prefix="nova-i-", dir="/tmp") as folder:
        _measure(node, "the daemon, no agent", report, judged=False)
        register_all(node, Panes.open(node.tmux, Path(folder), AGENTS))
        _measure(node, f"the daemon, {AGENTS} line agents", report, judged=True)
    with bench_node() as node, tempfile.TemporaryDirectory(prefix="nova-i-", dir="/tmp") as folder:
        _open_tuis(node, Path(folder))
        _measure(node, f"the daemon, {AGENTS} agents of the driver claude", report, judged=True)
        _open_tuis(node, Path(folder), since=AGENTS, count=WATCHED)
        _measure(
            node, f"{WATCHED} agents of the driver claude, idle", report, judged=True, limit=WATCH_CPU_LIMIT
        )
        busy = _work(node, BUSY)
        _measure(node, f"the same, {BUSY} of them working", report, judged=True, limit=WATCH_CPU_LIMIT)
        assert busy() == BUSY, "the working agents have stopped"
    report.notes.append(
        f"Over {WATCH_S:.0f} s, {SETTLE_S:.0f} s after the last agent was registered; processor time of all of "
        "the daemon's threads by the kernel's nanoseconds. PSS shares what several processes map. The agents of "
        "the driver claude are the lab's program that draws like Claude Code."
    )
    return [report]


def _work(node: BenchNode, count: int) -> Callable[[], int]:
    """Have `count` agents work for longer than anything is measured; return what counts them."""
    for agent in node.call("agents")[:count]:
        node.tmux.press(agent["pane"], "-l", "work")
        node.tmux.press(agent["pane"], "Enter")

    def busy() -> int:
        return sum(agent["state"] == "busy" for agent in node.call("agents"))

    until(lambda: busy() == count, 30.0, "the working agents")
    return busy


def _open_tuis(node: BenchNode, folder: Path, *, since: int = 0, count: int = AGENTS) -> None:
    claude = tui(node, folder, "tui-00", busy_s=BUSY_S).command.split()[0] if since == 0 else _claude(node)
    program = f"{claude} {PROGRAMS / 'agent_tui.py'} --busy {BUSY_S}"
    begin = max(since, 1)
    panes = [node.tmux.open(f"{program} --name tui-{n:02}") for n in range(begin, count)]
    for n, pane in enumerate(panes, start=begin):
        node.tmux.wait_for(pane, READY)
        node.register(f"tui-{n:02}", pane, "claude")
    until(lambda: all(agent["state"] == "idle" for agent in node.call("agents")), 60.0, "every agent idle")


def _measure(node: BenchNode, what: str, report: Report, *, judged: bool, limit: float = CPU_LIMIT) -> None:
    time.sleep(SETTLE_S)
    pids = (node.pid, int((node.state / "broker" / "broker.pid").read_text()), _tmux_pid(node))
    before = [usage(pid) for pid in pids]
    began = time.monotonic()
    time.sleep(WATCH_S)
    seconds = time.monotonic() - began
    after = [usage(pid) for pid in pids]
    cpu, broker_cpu, tmux_cpu = ((b.cpu_s - a.cpu_s) / seconds for a, b in zip(before, after, strict=True))
    daemon, broker, _ = after
    report.add(
        what,
        f"{cpu * 100:.2f}",
        f"{daemon.rss_mb:.1f}",
        f"{daemon.pss_mb:.1f}",
        f"{broker_cpu * 100:.2f}",
        f"{broker.rss_mb:.1f}",
        f"{tmux_cpu * 100:.2f}",
        target=f"<= {limit * 100:.0f} %, RSS <= {MEMORY_LIMIT_MB:.0f} MB" if judged else "",
        met=cpu <= limit and daemon.rss_mb <= MEMORY_LIMIT_MB if judged else None,
    )


def _tmux_pid(node: BenchNode) -> int:
    return int(node.tmux.tmux("display-message", "-p", "#{pid}"))


def _read(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read()


def _sizes(lines: Iterable[str]) -> Iterable[tuple[str, int]]:
    for line in lines:
        name, _, value = line.partition(":")
        yield name, int(value.split()[0])
