"""Simulate a fleet: `python -m benchmarks fleet [--nodes 300 --agents 10000 --rate 500 --seconds 30] [--write]`.

Hundreds of nodes in two processes on one server, all real but tmux (see fleet_load.py); one real daemon beside them
is asked for the registry, and one node in a process of its own is killed. `--write` runs the curve from 1 node to
all of them and writes it into docs/. What limits a run is said: the nodes of a fleet share these cores here.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.cores import watch, work_s
from benchmarks.curve import draw
from benchmarks.figures import as_text, ms, percentile
from benchmarks.fleet_load import BODY, node_name
from benchmarks.fleet_paper import PLOT, Found, lines, reports, written
from benchmarks.machine import describe
from benchmarks.stage import BenchNode, bench_node, remote
from nova_torch.broker import Broker, Owner
from nova_torch.protocol.aclient import AsyncClient
from tests.support.servers import OwnServer, free_port

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "benchmarks.md"
PROCESSES = 2
SIZES = (1, 3, 10, 30, 100)
IDLE_S, CALM_S = 15.0, 3.0
CURVE_S = 12.0
WARM_S = 2.0
PAGE_EVERY_S, WHOLE_EVERY_S = 0.5, 2.0
WAITING = 2000
SETTLE_S, GONE_MOST_S = 60.0, 50.0


class Process:
    """One process of nodes, told what to do line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    @classmethod
    async def begin(cls) -> Process:
        words = [sys.executable, "-m", "benchmarks.fleet_load"]
        pipe = asyncio.subprocess.PIPE
        return cls(
            await asyncio.create_subprocess_exec(*words, cwd=ROOT, stdin=pipe, stdout=pipe, limit=1 << 28)
        )

    async def ask(self, do: str, **order: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **order}).encode() + b"\n")
        line = await self._process.stdout.readline()
        assert line, f"the process that was to {do} has ended"
        return json.loads(line)

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


class Fleet:
    """A server, processes of nodes, and the daemon that is asked."""

    def __init__(
        self, found: Found, server: OwnServer, asked: BenchNode, processes: Sequence[Process]
    ) -> None:
        self.found = found
        self._server = server
        self._asked = asked
        self._processes = processes

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, found: Found) -> AsyncIterator[Fleet]:
        """Give a fleet whose nodes have claimed all their mailboxes; leave nothing behind."""
        folder = Path(tempfile.mkdtemp(prefix="nova-f-", dir="/tmp"))
        server = OwnServer(folder, free_port(), ("--appendonly", "yes", "--maxclients", "20000"), password="")
        processes: list[Process] = []
        try:
            server.start()
            url = f"redis://127.0.0.1:{server.port}"
            names = {"NOVA_NODE": "node-asked", "NOVA_BROKER_URL": url}
            found.message_bytes = await _message_bytes(server, url)
            empty = await _data_bytes(server)
            with bench_node(env=names) as asked:
                processes += [await Process.begin() for _ in range(min(PROCESSES, found.nodes))]
                begun = time.monotonic()
                await asyncio.gather(
                    *(
                        one.ask(
                            "start", url=url, folder=str(folder), nodes=found.nodes, agents=found.agents, seed=n,
                            numbers=list(range(n, found.nodes, len(processes))), targets=list(range(found.nodes)),
                        )
                        for n, one in enumerate(processes)
                    )
                )  # fmt: skip
                found.start_s = time.monotonic() - begun
                found.agent_bytes = (await _data_bytes(server) - empty) / found.agents
                yield cls(found, server, asked, processes)
                await asyncio.gather(*(one.ask("stop") for one in processes))
        finally:
            for one in processes:
                await one.kill()
            server.kill()
            shutil.rmtree(folder, ignore_errors=True)

    async def idle(self, seconds: float) -> None:
        """Measure what the fleet costs while nothing is sent: beats, and what else goes by the clock."""
        await asyncio.sleep(CALM_S)
        found = self.found
        found.least_work_s = min(work_s() for _ in range(9))
        found.broker_idle, found.load_idle = await self._used(asyncio.sleep(seconds))

    async def loaded(self, seconds: float) -> None:
        """Send, and ask the daemon for the registry meanwhile."""
        found = self.found
        async with await AsyncClient.connect(self._asked.socket) as client:
            found.first_page_s = await _timed(lambda: _page(client, found.agents))
        await self._send(WARM_S)
        found.warm_at = time.monotonic()
        sending = asyncio.create_task(self._send(seconds))
        asking = asyncio.create_task(self._ask())
        pacing = asyncio.create_task(watch(found.paces))
        found.broker_loaded, found.load_loaded = await self._used(sending)
        for task in (asking, pacing):
            task.cancel()
        await asyncio.gather(asking, pacing, return_exceptions=True)
        found.late_p99_s = max(one["late_p99_s"] for one in sending.result())
        found.broker_mb = psutil.Process(self._pid).memory_info().rss / 1e6
        left = await asyncio.gather(*(one.ask("settled", timeout_s=SETTLE_S) for one in self._processes))
        found.unsettled = sum(one["open"] for one in left)

    async def _send(self, seconds: float) -> list[dict[str, float]]:
        share = self.found.rate / len(self._processes)
        return list(
            await asyncio.gather(*(one.ask("send", rate=share, seconds=seconds) for one in self._processes))
        )

    async def count(self) -> None:
        """Hold what was accepted against what was recorded."""
        told = [await one.ask("told") for one in self._processes]
        recorded: dict[str, list[float]] = {}
        for one in told:
            for message, times in one["recorded"].items():
                recorded.setdefault(message, []).extend(times)
        found = self.found
        for one in told:
            for message, at in one["accepted"].items():
                times = recorded.get(message, [])
                found.sent += 1
                found.lost += not times
                found.twice += len(times) > 1
                warm = one["offered"][message] >= found.warm_at
                if warm:
                    found.accepting.append(at - one["offered"][message])
                if times:
                    (found.to_recorder if warm else found.at_first).append(min(times) - at)
                    if warm:
                        found.sent_at.append(one["offered"][message])

    async def gone(self, url: str) -> None:
        """Start one more node in a process of its own, kill it, and see when nodes everywhere know."""
        victim = await Process.begin()
        name = node_name(self.found.nodes)
        try:
            with tempfile.TemporaryDirectory(prefix="nova-f-", dir="/tmp") as folder:
                await victim.ask(
                    "start", url=url, folder=folder, nodes=self.found.nodes + 1, agents=0, seed=0,
                    numbers=[self.found.nodes], targets=[],
                )  # fmt: skip
                await asyncio.sleep(CALM_S)
                killed = time.monotonic()
                await victim.kill()
                seen = await asyncio.gather(
                    self._asked_sees(name, killed),
                    *(one.ask("gone", name=name, timeout_s=GONE_MOST_S) for one in self._processes),
                )
        finally:
            await victim.kill()
        self.found.gone_s = [(one["at"] or float("inf")) - killed for one in seen]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._server.port}"

    @property
    def _pid(self) -> int:
        assert self._server.process is not None
        return self._server.process.pid

    async def _asked_sees(self, name: str, killed: float) -> dict[str, float | None]:
        client = await AsyncClient.connect(self._asked.socket)
        try:
            while time.monotonic() < killed + GONE_MOST_S:
                rows = await client.call("node_list", {})
                if any(row["node"] == name and row["state"] == "disconnected" for row in rows):
                    return {"at": time.monotonic()}
                await asyncio.sleep(0.5)
        finally:
            await client.close()
        return {"at": None}

    async def _ask(self) -> None:
        client = await AsyncClient.connect(self._asked.socket)
        whole_at = time.monotonic()
        try:
            while True:
                self.found.pages.append(await _timed(lambda: _page(client, self.found.agents)))
                await asyncio.sleep(PAGE_EVERY_S)
                if time.monotonic() >= whole_at:
                    whole_at = time.monotonic() + WHOLE_EVERY_S
                    self.found.wholes.append(await _timed(lambda: _whole(client, self.found.agents)))
                    await asyncio.sleep(PAGE_EVERY_S)
        finally:
            await client.close()

    async def _used(self, work: Awaitable[Any]) -> tuple[float, float]:
        """Return the CPU of the server and of the nodes' processes while `work` goes on."""
        groups = [[psutil.Process(self._pid)], [psutil.Process(one.pid) for one in self._processes]]
        before, begun = [sum(map(_cpu_s, group)) for group in groups], time.monotonic()
        await work
        span = time.monotonic() - begun
        broker, nodes = (
            100 * (sum(map(_cpu_s, group)) - was) / span for group, was in zip(groups, before, strict=True)
        )
        return broker, nodes


async def _data_bytes(server: OwnServer) -> int:
    return int(await asyncio.to_thread(server.told, "memory", "used_memory_dataset"))


async def _message_bytes(server: OwnServer, url: str) -> float:
    """Return what a message takes in the mailbox of an agent that is away."""
    owner = Owner(node="away", epoch=1)
    async with await Broker.connect(url, prefix="measured") as broker:
        await broker.claim("away", owner)
        before = await _data_bytes(server)
        await broker.enqueue([remote("away", BODY) for _ in range(WAITING)])
        used = await _data_bytes(server) - before
        await broker.release("away", owner, drop=True)
    return used / WAITING


async def _timed(ask: Callable[[], Awaitable[None]]) -> float:
    begun = time.perf_counter()
    await ask()
    return time.perf_counter() - begun


async def _page(client: AsyncClient, agents: int) -> None:
    found = await client.call("agents_page", {"limit": 1000})
    assert found["total"] == agents, (found["total"], agents)


async def _whole(client: AsyncClient, agents: int) -> None:
    """Ask for everybody as `novactl agents` does."""
    after, count = None, 0
    while True:
        found = await client.call("agents_page", {"after": after})
        count += len(found["agents"])
        after = found["next"]
        if after is None:
            break
    assert count == agents, (count, agents)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def measure(nodes: int, agents: int, rate: float, seconds: float, *, killing: bool) -> Found:
    """Run one fleet and return what it showed."""
    found = Found(nodes=nodes, agents=agents, rate=rate)
    async with Fleet.running(found) as fleet:
        await fleet.idle(IDLE_S if killing else IDLE_S / 2)
        await fleet.loaded(seconds)
        await fleet.count()
        if killing:
            await fleet.gone(fleet.url)
    return found


def main(words: Sequence[str]) -> int:
    """Run it; return 0 when every target was met."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks fleet", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--nodes", type=int, default=300)
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=500.0, help="messages a second, of all nodes together")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long messages are sent")
    parser.add_argument(
        "--curve", action="store_true", help=f"smaller fleets too: {', '.join(map(str, SIZES))}"
    )
    parser.add_argument("--write", action="store_true", help="write the curve into docs/ (runs it)")
    options = parser.parse_args(words)
    if min(options.nodes, options.rate, options.seconds) <= 0 or options.agents < options.nodes:
        parser.error("give at least one node, an agent for each, a rate and a time")
    print("\n".join(describe()), flush=True)
    curve: list[Found] = []
    for nodes in (*(size for size in SIZES if size < options.nodes), options.nodes):
        last = nodes == options.nodes
        if last or options.curve or options.write:
            agents = options.agents if last else max(nodes, options.agents * nodes // options.nodes)
            seconds = options.seconds if last else min(CURVE_S, options.seconds)
            curve.append(asyncio.run(measure(nodes, agents, options.rate, seconds, killing=last)))
            print(f"{nodes} nodes: p99 {ms(percentile(curve[-1].to_recorder, 0.99))} ms", flush=True)
    found = reports(curve)
    for report in found:
        print(f"\n{as_text(report)}", flush=True)
    if options.write:
        DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8"), found), encoding="utf-8")
        DOCUMENT.with_name(PLOT).write_text(
            draw(lines(curve), x=[one.nodes for one in curve], title="nodes"), encoding="utf-8"
        )
        print(f"wrote docs/{DOCUMENT.name} and docs/{PLOT}")
    return 1 if any(row.met is False for row in found[1].rows) else 0
