"""Measure the road from the broker into fifty panes, beside tmux's raw limit and the original's way."""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.figures import Report, median, ms, percentile, times
from benchmarks.stage import BenchNode, Panes, bench_node, body, once, register_all, remote
from noval_d.tmux.control import ControlClient, TmuxSocket, quote

PANES = 50
RATE = 100
LATENCY_S = 20.0
ROUNDS = 3
BURST = 10_000
OFFERED = 500
OFFERED_S = 20.0
ORIGINAL = 10
ORIGINAL_SLEEP_S = 0.5
P50_S, P99_S, SUSTAINED = 0.005, 0.020, 500
LIMIT_S = 120.0

Send = Callable[[int, str], Awaitable[None]]


class Road:
    """One way into the panes, and what was sent on it: word -> when it was begun."""

    def __init__(self, name: str, panes: Panes, send: Send) -> None:
        self.name = name
        self._panes = panes
        self._send = send
        self._numbers = itertools.count()
        self.sent: dict[str, float] = {}

    async def one(self, pane: int) -> None:
        word = f"{self.name}-{next(self._numbers)}"
        self.sent[word] = time.monotonic()
        await self._send(pane, body(word))

    async def paced(self, rate: float, seconds: float) -> None:
        """Begin `rate` messages a second, whatever became of those before, into one pane after the other."""
        begin = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for n in range(int(rate * seconds)):
                await asyncio.sleep(begin + n / rate - time.monotonic())
                group.create_task(self.one(n % len(self._panes.ids)))

    async def arrived(self) -> dict[str, list[float]]:
        """Wait until as much arrived as was sent; return when each of this road's messages did."""
        end = time.monotonic() + LIMIT_S
        while True:
            found = {word: at for word, at in self._panes.arrived().items() if word in self.sent}
            if len(found) >= len(self.sent) or time.monotonic() > end:
                await asyncio.sleep(0.3)  # what came twice would come now
                return {word: at for word, at in self._panes.arrived().items() if word in self.sent}
            await asyncio.sleep(0.3)

    async def latencies(self) -> list[float]:
        return [at[0] - self.sent[word] for word, at in (await self.arrived()).items()]

    async def state(self) -> str:
        return once(await self.arrived(), list(self.sent))


def run() -> list[Report]:
    with bench_node() as node, tempfile.TemporaryDirectory(prefix="nova-l-", dir="/dev/shm") as folder:
        panes = Panes.open(node.tmux, Path(folder), PANES)
        names = register_all(node, panes)
        return asyncio.run(_measure(node, panes, names, Path(folder)))


async def _measure(node: BenchNode, panes: Panes, names: list[str], folder: Path) -> list[Report]:
    socket = TmuxSocket(path=str(node.tmux.socket_path))
    client = await ControlClient.connect(socket, session="_nova-bench")
    broker = await node.broker()

    async def by_nova(pane: int, text: str) -> None:
        (result,) = await broker.enqueue([remote(names[pane], text)])
        assert not result.error, result

    async def by_control(pane: int, text: str) -> None:
        await raw_paste(client, folder, panes.ids[pane], text)

    async def by_original(pane: int, text: str) -> None:
        await _tmux(socket, "send-keys", "-t", panes.ids[pane], "-l", text)
        await asyncio.sleep(ORIGINAL_SLEEP_S)
        await _tmux(socket, "send-keys", "-t", panes.ids[pane], "Enter")

    try:
        latency = await _latency(
            Road("nova", panes, by_nova), Road("raw", panes, by_control), Road("orig", panes, by_original)
        )

        async def batch(begin: int, count: int) -> list[str]:
            words = [f"burst-{begin + n}" for n in range(count)]
            items = [remote(names[n % len(names)], body(word)) for n, word in enumerate(words)]
            results = await broker.enqueue(items)
            assert not any(result.error for result in results)
            return words

        rate = await _throughput(panes, batch, Road("flood", panes, by_control), Road("flow", panes, by_nova))
    finally:
        await broker.close()
        await client.close()
    return [latency, rate]


async def _latency(nova: Road, raw: Road, original: Road) -> Report:
    await nova.paced(RATE, 2.0)  # warm up: connections, scripts, code
    await raw.paced(RATE, 1.0)
    await nova.arrived()
    nova.sent.clear()
    raw.sent.clear()
    for _ in range(ROUNDS):
        await raw.paced(RATE, LATENCY_S / ROUNDS)
        measured = dict(nova.sent)
        # Into each pane one message that is not measured: a second is waited for what raw's keys may still draw.
        await nova.paced(RATE, PANES / RATE)
        await nova.arrived()
        nova.sent = measured
        await nova.paced(RATE, LATENCY_S / ROUNDS)
    for n in range(ORIGINAL):
        await original.one(n)
    report = Report(
        title=f"From the broker to the bytes in the pane: {RATE} messages a second, {PANES} panes",
        columns=("n", "p50 ms", "p99 ms", "max ms", "p50 / raw", "original / p50"),
    )
    slow, base = median(await original.latencies()), median(await raw.latencies())
    for road, what in (
        (nova, "Nova-Torch"),
        (raw, "raw limit: one control client, nothing else"),
        (original, "the original's way: send-keys, sleep 0.5, Enter"),
    ):
        found = await road.latencies()
        p50, p99 = percentile(found, 0.5), percentile(found, 0.99)
        good = p50 <= P50_S and p99 <= P99_S and len(found) == len(road.sent) if road is nova else None
        report.add(
            what,
            str(len(found)),
            ms(p50),
            ms(p99),
            ms(max(found)),
            times(p50, base),
            times(slow, p50),
            target=f"p50 <= {ms(P50_S)}, p99 <= {ms(P99_S)}" if road is nova else "",
            met=good,
        )
    report.notes.append(
        "From just before a remote sender's enqueue (mailbox and bell) to the return of the read that gave the "
        f"pane's raw-mode program the last byte, Enter's, of 80: {await nova.state()}. "
        "Between them is one durable write of the node's state file (fsync). Before a pane's first message after "
        "raw's keys a second is waited for what they may still draw; that message is not in it."
    )
    return report


async def _throughput(
    panes: Panes, batch: Callable[[int, int], Awaitable[list[str]]], raw: Road, flow: Road
) -> Report:
    report = Report(
        title=f"Sustained into {PANES} panes", columns=("n", "messages/s", "of raw", "last one's lag s")
    )

    async def client(pane: int) -> None:
        for _ in range(BURST // PANES):
            await raw.one(pane)

    begin = time.monotonic()
    await asyncio.gather(*(client(pane) for pane in range(PANES)))
    limit = len(raw.sent) / (max(at[0] for at in (await raw.arrived()).values()) - begin)

    begin = time.monotonic()
    words: list[str] = []
    for start in range(0, BURST, 250):
        words += await batch(start, 250)
    enqueued = time.monotonic()
    wanted = set(words)
    end = begin + LIMIT_S
    while time.monotonic() < end:
        arrived = {word: at for word, at in panes.arrived().items() if word in wanted}
        if len(arrived) == len(words):
            break
        await asyncio.sleep(0.5)
    await asyncio.sleep(0.5)
    arrived = {word: at for word, at in panes.arrived().items() if word in wanted}
    last = max(at[0] for at in arrived.values())
    rate = len(arrived) / (last - begin)
    all_once = once(arrived, words)
    report.add(
        f"Nova-Torch: {BURST} put into the mailboxes at once",
        str(len(arrived)),
        f"{rate:.0f}",
        f"{rate / limit:.2f}",
        f"{last - enqueued:.1f}",
        target=f">= {SUSTAINED}/s, each once",
        met=rate >= SUSTAINED and all_once == "each exactly once",
    )
    await flow.paced(OFFERED, OFFERED_S)
    offered_at = max(flow.sent.values())
    flowed = await flow.arrived()
    waits = await flow.latencies()
    lag = max(at[0] for at in flowed.values()) - offered_at
    report.add(
        f"Nova-Torch: {OFFERED} a second offered for {OFFERED_S:.0f} s",
        str(len(flowed)),
        f"{len(flowed) / (max(at[0] for at in flowed.values()) - min(flow.sent.values())):.0f}",
        "",
        f"{lag:.2f}",
        target="keeps up",
        met=lag < 1.0 and await flow.state() == "each exactly once",
    )
    report.add("raw limit: one control client, pipelined", str(len(raw.sent)), f"{limit:.0f}", "1.00", "")
    report.add("the original's way, one sender", "", f"{1 / (ORIGINAL_SLEEP_S + 0.015):.1f}", "", "")
    report.notes.append(
        f"At once: {all_once}; offered: {await flow.state()}, p50 {ms(median(waits))} ms, "
        f"p99 {ms(percentile(waits, 0.99))} ms. Proof of every message included: two durable writes each."
    )
    return report


_files = itertools.count()


async def raw_paste(client: ControlClient, folder: Path, pane: str, text: str) -> None:
    """Paste and press Enter by one bare control line: no look before it, no guard, no marker, no proof."""
    number = next(_files)
    file = folder / f"raw-{number}"
    file.write_text(text)
    line = f"load-buffer -b r{number} {quote(str(file))} ; paste-buffer -p -r -d -b r{number} -t {pane}"
    answer = await client.run(f"{line} ; send-keys -t {pane} Enter")
    file.unlink()
    assert answer.error is None, answer.error


async def _tmux(socket: TmuxSocket, *words: str) -> None:
    process = await asyncio.create_subprocess_exec("tmux", "-S", socket.path, *words, env=dict(os.environ))
    assert await process.wait() == 0
