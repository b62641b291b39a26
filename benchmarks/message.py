"""Measure what a message between two nodes costs: CPU, writes to the broker, commits. It needs no quiet machine.

Thirty nodes in this process on one server, real but for tmux (fleet_load.py), at a rate far from what they can do;
what the same nodes use while nothing is sent is taken off.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import uvloop

from benchmarks import fleet_load
from benchmarks.figures import Report
from nova_torch.broker.wires import _Wire
from noval_d.mailroom import store
from noval_d.threads import take_turns
from tests.support.servers import OwnServer, free_port

NODES, AGENTS = 30, 1000
RATE, SECONDS = 50.0, 15.0
CALM_S, IDLE_S, SETTLE_S = 4.0, 8.0, 30.0


@dataclass(slots=True)
class Used:
    """What was used in `seconds`: CPU of this process and of the server in s, and how often what was done."""

    seconds: float
    nodes_s: float
    server_s: float
    done: Counter[str]

    def less(self, idle: Used) -> Used:
        """Return it without what an idle time of the same length would have used."""
        part = self.seconds / idle.seconds
        left = Counter({name: round(number - idle.done[name] * part) for name, number in self.done.items()})
        nodes_s, server_s = self.nodes_s - idle.nodes_s * part, self.server_s - idle.server_s * part
        return Used(self.seconds, nodes_s, server_s, left)


def run() -> list[Report]:
    """Send at a steady rate and report each cost by message."""
    take_turns()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        used, latencies = runner.run(_measured())
    sent = len(latencies)
    report = Report(title="What a message between two nodes costs", columns=("each",))
    report.add("CPU of both nodes, ms", f"{1000 * used.nodes_s / sent:.2f}")
    report.add("CPU of the broker, ms", f"{1000 * used.server_s / sent:.2f}")
    report.add("round trips to the broker", f"{used.done['exchange'] / sent:.2f}")
    report.add("commits (fsync) of both state files", f"{used.done['commit'] / sent:.2f}")
    report.notes.append(
        f"{sent} messages of 80 letters, {RATE:g} a second, each from one of {NODES} nodes and for one of {AGENTS}"
        " agents by chance, so nearly always for a mailbox whose node the sender has not met; from `accepted` to a"
        " final receipt in the sender's state file. Real but for tmux; what idle nodes use is taken off."
    )
    report.notes.append(
        "Between different nodes are 29 of 30. A round trip is one write with all its replies; one that waits for"
        " bells or mail counts when something comes."
    )
    return [report]


async def _measured() -> tuple[Used, list[float]]:
    folder = Path(tempfile.mkdtemp(prefix="nova-m-", dir="/tmp"))
    server = OwnServer(folder, free_port(), ("--appendonly", "yes"), password="")
    counts: Counter[str] = Counter()
    try:
        with fleet_load.recorders(), _counted(counts):
            server.start()
            assert server.process is not None
            load = fleet_load.Load(
                {"url": f"redis://127.0.0.1:{server.port}", "folder": str(folder), "nodes": NODES, "agents": AGENTS,
                 "seed": 1, "numbers": list(range(NODES)), "targets": list(range(NODES))}
            )  # fmt: skip
            await load.start()
            await asyncio.sleep(CALM_S)
            pid = server.process.pid
            idle = await _used(pid, counts, lambda: asyncio.sleep(IDLE_S))
            busy = await _used(pid, counts, lambda: _sent(load))
            recorded = fleet_load.Recorder.times
            found = [min(recorded[name]) - at for name, at in load.accepted.items()]
            assert all(len(recorded[name]) == 1 for name in load.accepted)
            await load.stop()
            return busy.less(idle), found
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


async def _sent(load: fleet_load.Load) -> None:
    await load.send(RATE, SECONDS)
    assert await load.settled(SETTLE_S) == {"open": 0}


async def _used(pid: int, counts: Counter[str], work: Callable[[], Awaitable[Any]]) -> Used:
    begun, nodes, server, before = time.monotonic(), time.process_time(), _cpu_s(pid), Counter(counts)
    await work()
    done = Counter({name: number - before[name] for name, number in counts.items()})
    return Used(time.monotonic() - begun, time.process_time() - nodes, _cpu_s(pid) - server, done)


@contextlib.contextmanager
def _counted(counts: Counter[str]) -> Iterator[None]:
    send, commit = _Wire.send, store._commit  # noqa: SLF001

    def counted_send(self: _Wire, sent: bytes, wanted: int, limit_s: float | None) -> Any:
        counts["exchange"] += 1
        return send(self, sent, wanted, limit_s)

    def counted_commit(connection: Any, work: Any) -> Any:
        counts["commit"] += 1
        return commit(connection, work)

    _Wire.send, store._commit = counted_send, counted_commit  # type: ignore[method-assign]  # noqa: SLF001
    try:
        yield
    finally:
        _Wire.send, store._commit = send, commit  # type: ignore[method-assign]  # noqa: SLF001


def _cpu_s(pid: int) -> float:
    taken = psutil.Process(pid).cpu_times()
    return float(taken.user + taken.system)
