"""Measure the registry of a fleet of 300 nodes and 10,000 agents: listings, and what beats cost the broker.

The node that is asked is real; the other 299 are their blobs in its broker, of which 60 a second say something new.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.figures import Report, median, ms, percentile
from benchmarks.stage import bench_node
from nova_torch import AsyncAgentRegistry
from nova_torch.blobs import write_blob
from nova_torch.broker import Broker
from nova_torch.nodes import NodeCard
from nova_torch.protocol.aclient import AsyncClient
from nova_torch.values import AgentId, AgentRecord, AgentState, NodeId

NODES = 299
AGENTS = 10_000
CHANGES_A_SECOND = 60
BEATS_A_SECOND = 60.0  # of 300 nodes, each every 5 s
PAGES, LISTINGS, STRAIGHT = 60, 10, 10
BEATS_S = 10.0
APART_S = 0.25  # longer than the answer of a look holds: each asks the broker
LEASE_S = 600.0
P99_MS = 100.0
CORE_PERCENT = 5.0
ROLES = ("developer", "reviewer", "tester", "writer")
SKILLS = ("python", "sql", "rust", "docs")


def run() -> list[Report]:
    """Fill a broker with a fleet, ask, and report."""
    listing = Report(title="A fleet of 300 nodes and 10,000 agents", columns=("n", "p50 ms", "p99 ms"))
    beats = Report(title="What beats cost the broker", columns=("a second", "% of a core"))
    with bench_node() as node:
        asyncio.run(_measure(str(node.state / "broker" / "broker.sock"), node.socket, listing, beats))
    listing.notes.append(
        f"A real daemon and its embedded broker; {NODES} nodes are their blobs in it, {CHANGES_A_SECOND} of them a"
        " second say something new meanwhile. Listings are 0.25 s apart, so that each asks the broker. The client"
        " is this process, which also writes the changes."
    )
    beats.notes.append(
        "Each beat as a node makes it: a look at the generation and the script, in one write. The processor time"
        " of the server, by its own INFO, over 10 s, less that of 10 s without beats."
    )
    return [listing, beats]


async def _measure(path: str, socket: str, listing: Report, beats: Report) -> None:
    async with await Broker.connect(f"unix://{path}") as broker:
        await asyncio.gather(*(_say(broker, number) for number in range(NODES)))
        idle = await _cpu_s(broker, BEATS_S)
        for news, what in (("same", "nothing new"), ("new", "the whole, every time")):
            task = asyncio.create_task(_beat(broker, news))
            used = await _cpu_s(broker, BEATS_S)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            percent = 100 * max(0.0, used - idle) / BEATS_S
            limit = CORE_PERCENT if news == "same" else None
            beats.add(
                f"300 nodes beat, {what}", f"{BEATS_A_SECOND:.0f}", f"{percent:.1f}",
                target="" if limit is None else f"<= {limit:g} %",
                met=None if limit is None else percent <= limit,
            )  # fmt: skip
        changing = asyncio.create_task(_change(broker))
        client = await AsyncClient.connect(socket)

        async def page() -> None:
            found = await client.call("agents_page", {"limit": 1000})
            assert found["total"] == AGENTS, found["total"]

        async def narrow() -> None:
            await client.call(
                "agents_page", {"role": "reviewer", "skills": ["sql"], "free": True, "limit": 100}
            )

        async def whole() -> None:
            after, count = None, 0
            while True:
                found = await client.call("agents_page", {"limit": 1000, "after": after})
                count += len(found["agents"])
                after = found["next"]
                if after is None:
                    break
            assert count == AGENTS, count

        async def straight() -> None:
            async with AsyncAgentRegistry(socket="/nowhere", broker=f"unix://{path}") as registry:
                assert len(await registry.list_agents()) == AGENTS

        try:
            await _timed(listing, "a page of 1,000, by the daemon", PAGES, page, P99_MS)
            await _timed(listing, "free reviewers with a skill, by the daemon", PAGES, narrow, P99_MS)
            await _timed(listing, "all 10,000 in pages, by the daemon", LISTINGS, whole, None)
            await _timed(listing, "all 10,000 without a daemon, connecting first", STRAIGHT, straight, None)
        finally:
            changing.cancel()
            await asyncio.gather(changing, return_exceptions=True)
            await client.close()


async def _timed(
    report: Report, what: str, count: int, ask: Callable[[], Awaitable[None]], limit_ms: float | None
) -> None:
    await ask()  # the first one reads every node
    times: list[float] = []
    for _ in range(count):
        await asyncio.sleep(APART_S * random.uniform(1, 1.5))
        started = time.perf_counter()
        await ask()
        times.append(time.perf_counter() - started)
    p99 = percentile(times, 0.99)
    report.add(
        what, str(count), ms(median(times)), ms(p99),
        target="" if limit_ms is None else f"p99 <= {limit_ms:g} ms",
        met=None if limit_ms is None else p99 * 1000 <= limit_ms,
    )  # fmt: skip


async def _say(broker: Broker, number: int, news: Any = "new") -> None:
    await broker.beat(f"node-{number:03}", 1, _blob(number), ttl_s=LEASE_S, news=news)


async def _change(broker: Broker) -> None:
    for number in itertools.count():
        await _say(broker, number % NODES)
        await asyncio.sleep(1 / CHANGES_A_SECOND)


async def _beat(broker: Broker, news: str) -> None:
    begun = time.perf_counter()
    for number in itertools.count():
        await _say(broker, number % NODES, news)
        await asyncio.sleep(max(0.0, begun + (number + 1) / BEATS_A_SECOND - time.perf_counter()))


async def _cpu_s(broker: Broker, span_s: float) -> float:
    """Return the processor time that the server uses within `span_s`."""
    before = await _used_s(broker)
    await asyncio.sleep(span_s)
    return await _used_s(broker) - before


async def _used_s(broker: Broker) -> float:
    raw = await broker._link.command("INFO", "cpu")  # noqa: SLF001 - a figure that only this benchmark wants
    told = dict(line.split(":", 1) for line in raw.decode().splitlines() if ":" in line)
    return float(told["used_cpu_sys"]) + float(told["used_cpu_user"])


_RANDOM = random.Random(1)


def _blob(number: int) -> bytes:
    first, last = number * AGENTS // NODES, (number + 1) * AGENTS // NODES
    agents = [
        AgentRecord(
            agent_id=AgentId(f"agent-{n:05}"), role=ROLES[n % 4], skills=(SKILLS[n % 4], SKILLS[n // 4 % 4]),
            node=NodeId(f"node-{number:03}"), driver="claude", pane=f"%{n - first}", session="nova",
            window=f"agent-{n:05}", state=_RANDOM.choice((AgentState.IDLE, AgentState.BUSY)), state_since_ms=1,
            queued=0, last_seen_ms=time.time_ns() // 1_000_000, state_source="hook",
        )
        for n in range(first, last)
    ]  # fmt: skip
    return write_blob(
        f"node-{number:03}", agents, now_ms=time.time_ns() // 1_000_000,
        card=NodeCard(version="2", labels=("zone=eu",), lease_ms=20_000),
    )  # fmt: skip
