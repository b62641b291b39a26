"""Run traffic for an hour and watch that nothing grows: `python -m benchmarks.soak [--minutes M] [--write]`.

Every minute: memory, processor time, open files and threads of the daemon, its broker's memory, the queues, the
state file. At the end: whether they stayed constant, with the time a message took, and whether each arrived once.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from benchmarks.figures import Report, as_markdown, median, percentile
from benchmarks.idle import usage
from benchmarks.machine import describe, load
from benchmarks.stage import SENDER_NODE, BenchNode, Panes, bench_node, body, once, register_all, remote
from nova_torch.broker import Broker
from nova_torch.codec import decode_hop
from nova_torch.protocol.aclient import AsyncClient
from nova_torch.values import State
from tests.support.agents import Tui, tui
from tests.support.node import until

PAPER = Path(__file__).parents[1] / "docs" / "soak.md"
LINES, TUIS = 18, 2
TUI_EVERY_S = 2.0
SAMPLE_S = 60.0
DRAIN_S = 60.0
WARM_UP = 2
"""Samples that do not count: caches fill, code is loaded."""
GROWTH, GROWTH_MB = 0.05, 2.0
OPEN_FILES, QUEUED = 3, 100
LOOKS, LOOK_S = 20, 0.05
LATER, LATER_MS = 0.25, 5.0
"""What the p99 of the last third may be above that of the first: it is of a machine that others use too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The node at one moment; `cpu` is the share of a core since the sample before."""

    minute: float
    sent: int
    cpu: float
    rss_mb: float
    pss_mb: float
    broker_mb: float
    files: int
    threads: int
    outbox: int
    mailboxes: int
    state_mb: float
    load: float
    """Of the machine, the last minute's: what else it did."""


@dataclass(slots=True)
class Traffic:
    """What was sent: the words of the line agents' messages, and of the composer agents'."""

    lines: dict[str, float] = field(default_factory=dict)
    """With the monotonic second before it was sent."""
    tuis: dict[str, list[str]] = field(default_factory=dict)
    remote: set[str] = field(default_factory=set)
    """Ids of what the other node sent."""
    told: Counter[str] = field(default_factory=Counter)
    """How often the other node was told that a message of its own is submitted."""

    @property
    def count(self) -> int:
        return len(self.lines) + sum(map(len, self.tuis.values()))


class Soak:
    """Sends at a steady rate, half from the node itself, half from another one, and samples the node."""

    def __init__(self, node: BenchNode, panes: Panes, tuis: Sequence[Tui], rate: float) -> None:
        self._node = node
        self._panes = panes
        self._names = register_all(node, panes)
        self._tuis = tuis
        self._rate = rate
        self._numbers = itertools.count()
        self._rng = random.Random(1)
        self._cpu = (time.monotonic(), usage(node.pid).cpu_s)
        self._began = time.monotonic()
        self.traffic = Traffic(tuis={one.name: [] for one in tuis})
        self.samples: list[Sample] = []

    async def run(self, minutes: float) -> None:
        broker = await self._node.broker()
        receipts = asyncio.create_task(self._receipts(broker))
        client = await AsyncClient.connect(self._node.socket)
        end = time.monotonic() + minutes * 60
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._to_lines(client, broker, end))
                for one in self._tuis:
                    group.create_task(self._to_tui(client, one, end))
                group.create_task(self._watch(broker, end))
            await self._drain(broker)
        finally:
            receipts.cancel()
            await asyncio.wait([receipts])
            await client.close()
            await broker.close()

    async def _to_lines(self, client: AsyncClient, broker: Broker, end: float) -> None:
        begin = time.monotonic()
        for n in itertools.count():
            due = begin + n / self._rate
            if due >= end:
                return
            await asyncio.sleep(due - time.monotonic())
            word = f"soak-{next(self._numbers)}"
            name = self._rng.choice(self._names)
            text = body(word) + "x" * self._rng.choice((0, 0, 0, 500, 3000))
            if n % 2:
                item = remote(name, text)
                self.traffic.remote.add(item.message_id)
                self.traffic.lines[word] = time.monotonic()
                (result,) = await broker.enqueue([item])
                assert not result.error, result
            else:
                self.traffic.lines[word] = time.monotonic()
                await client.call("send", {"target": name, "body": text, "sender": "user:soak"})

    async def _to_tui(self, client: AsyncClient, one: Tui, end: float) -> None:
        while time.monotonic() < end:
            text = f"soak {next(self._numbers)} for {one.name}"
            await client.call("send", {"target": one.name, "body": text, "sender": "user:soak"})
            self.traffic.tuis[one.name].append(text)
            await asyncio.sleep(TUI_EVERY_S)

    async def _receipts(self, broker: Broker) -> None:
        """Read the other node's mail, as it does."""
        epoch = await broker.claim_epoch(SENDER_NODE)
        while True:
            mail = await broker.mail(SENDER_NODE, block_s=2.0)
            hops = [decode_hop(piece.payload) for piece in mail]
            self.traffic.told.update(hop.message for hop in hops if hop.state is State.SUBMITTED)
            await broker.mail_done(SENDER_NODE, epoch, [piece.entry_id for piece in mail])

    async def _watch(self, broker: Broker, end: float) -> None:
        print(" ".join(f"{one.name:>9}" for one in fields(Sample)), flush=True)
        while (left := end - time.monotonic()) > 1:
            await asyncio.sleep(min(SAMPLE_S, left))
            self.samples.append(await self._sample(broker))
            row = self.samples[-1]
            values = (getattr(row, one.name) for one in fields(Sample))
            print(" ".join(f"{v:9.2f}" if isinstance(v, float) else f"{v:9}" for v in values), flush=True)

    async def _sample(self, broker: Broker) -> Sample:
        node = self._node
        pid = node.pid
        now, daemon = time.monotonic(), usage(pid)
        before_at, before_cpu = self._cpu
        self._cpu = (now, daemon.cpu_s)
        status = await asyncio.to_thread(node.call, "status")
        names = [*self._names, *(one.name for one in self._tuis)]
        files = (node.state / name for name in ("state.db", "state.db-wal"))
        return Sample(
            minute=(now - self._began) / 60,
            sent=self.traffic.count,
            cpu=(daemon.cpu_s - before_cpu) / (now - before_at),
            rss_mb=daemon.rss_mb,
            pss_mb=daemon.pss_mb,
            broker_mb=usage(int((node.state / "broker" / "broker.pid").read_text())).rss_mb,
            files=await open_files(pid),
            threads=len(os.listdir(f"/proc/{pid}/task")),
            outbox=int(status["outbox"]),
            mailboxes=sum((await broker.backlog(names)).values()),
            state_mb=sum(file.stat().st_size for file in files if file.exists()) / 1e6,
            load=os.getloadavg()[0],
        )

    async def _drain(self, broker: Broker) -> None:
        end = time.monotonic() + DRAIN_S
        while time.monotonic() < end:
            row = await self._sample(broker)
            arrived = self._panes.count() >= len(self.traffic.lines)
            if arrived and not row.outbox and not row.mailboxes:
                break
            await asyncio.sleep(0.5)
        await asyncio.sleep(1.0)  # what came twice would come now

    def verdicts(self) -> list[tuple[str, bool]]:
        """Return each question of the soak, answered, and whether the answer is good."""
        found = once(self._panes.arrived(), list(self.traffic.lines))
        said = [
            (f"{len(self.traffic.lines)} messages into {LINES} line agents: {found}", "LOST" not in found)
        ]
        told = sum(self.traffic.told[message] == 1 for message in self.traffic.remote)
        text = f"{told} of the other node's {len(self.traffic.remote)} messages have one receipt: submitted"
        said.append((text, told == len(self.traffic.remote)))
        for one in self._tuis:
            sent, got = self.traffic.tuis[one.name], [text.rstrip() for text in one.prompts()]
            said.append(
                (
                    f"{len(sent)} messages into {one.name}: {len(got)} prompts, in order: {got == sent}",
                    got == sent,
                )
            )
        return [*said, *constant(self.samples), latency(self.p99_ms())]

    def p99_ms(self) -> list[float]:
        """Return of each minute the p99 from before a message was sent until its last byte was read in its pane."""
        arrived = self._panes.arrived()
        minutes: dict[int, list[float]] = {}
        for word, sent in self.traffic.lines.items():
            for when in arrived.get(word, ())[:1]:
                minutes.setdefault(int((sent - self._began) / 60), []).append((when - sent) * 1e3)
        return [percentile(minutes[minute], 0.99) for minute in sorted(minutes)]


def constant(samples: Sequence[Sample]) -> list[tuple[str, bool]]:
    """Compare the last third with the first third after the warm-up."""
    counted = samples[WARM_UP:]
    if len(counted) < 3:
        return [("too short to say whether anything grows: give it 6 minutes or more", True)]
    third = max(1, len(counted) // 3)
    said: list[tuple[str, bool]] = []
    for name in ("rss_mb", "pss_mb", "broker_mb", "cpu"):
        first = median([getattr(row, name) for row in counted[:third]])
        last = median([getattr(row, name) for row in counted[-third:]])
        slack = 0.05 if name == "cpu" else GROWTH_MB
        said.append(
            (f"{name}: {first:.2f} at first, {last:.2f} at last", last <= first * (1 + GROWTH) + slack)
        )
    for name, slack in (("files", OPEN_FILES), ("threads", 0)):
        counts = [getattr(row, name) for row in counted]
        said.append((f"{name}: {min(counts)} to {max(counts)}", max(counts) - min(counts) <= slack))
    for name in ("outbox", "mailboxes"):
        most = max(getattr(row, name) for row in counted)
        said.append((f"{name}: {most} at most", most <= QUEUED))
    return said


async def open_files(pid: int) -> int:
    """Return the least that a process has open within a second.

    Connections of hooks and of callers come and go, and one that is there now says nothing; what leaks stays.
    """
    counts = []
    for _ in range(LOOKS):
        counts.append(len(os.listdir(f"/proc/{pid}/fd")))
        await asyncio.sleep(LOOK_S)
    return min(counts)


def latency(p99_ms: Sequence[float]) -> tuple[str, bool]:
    """Compare the minutes' p99 of the last third with that of the first, after the warm-up."""
    counted = p99_ms[WARM_UP:]
    third = max(1, len(counted) // 3)
    if len(counted) < 3:
        return "too short to say whether a message takes longer", True
    first, last = median(counted[:third]), median(counted[-third:])
    text = f"p99 of a minute, sent to read in the pane: {first:.1f} ms at first, {last:.1f} ms at last"
    return f"{text}, {max(counted):.1f} ms at most", last <= first * (1 + LATER) + LATER_MS


def paper(command: str, traffic: str, soak: Soak, verdicts: Sequence[tuple[str, bool]]) -> str:
    """Return the page that tells of a run: what was judged, and the samples, one of each five minutes."""
    report = Report(title="The samples", columns=(*(one.name for one in fields(Sample)[1:]), "p99 ms"))
    p99_ms = soak.p99_ms()
    for number, row in enumerate(soak.samples):
        if number == 0 or (number + 1) % 5 == 0:
            values = [getattr(row, one.name) for one in fields(Sample)[1:]]
            shown = [f"{v:.2f}" if isinstance(v, float) else str(v) for v in values]
            delay = f"{p99_ms[number]:.1f}" if number < len(p99_ms) else ""
            report.add(f"minute {row.minute:.0f}", *shown, delay)
    said = [f"- {'ok' if good else '**not ok**'}: {text}" for text, good in verdicts]
    return "\n".join(
        [
            "# The soak",
            "",
            f"Written by `{command}` on {time.strftime('%Y-%m-%d')}, load at the end {load()}. "
            + "; ".join(describe())
            + ".",
            "",
            f"{traffic} Half of what goes into line agents comes from another node.",
            "",
            *said,
            "",
            as_markdown(report),
            "",
            "`cpu` is the daemon's share of a core, `rss_mb` and `pss_mb` its memory, `state_mb` its state file,",
            "`files` the least that it had open within a second: connections of the instant come and go.",
            "",
        ]
    )


def main() -> int:
    """Run the soak; return 0 when everything stayed constant and arrived once."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=20.0, help="messages a second, all together (20)")
    parser.add_argument("--write", action="store_true", help=f"write docs/{PAPER.name}")
    options = parser.parse_args()
    to_lines = options.rate - TUIS / TUI_EVERY_S
    if to_lines <= 0:
        parser.error(f"--rate must be above {TUIS / TUI_EVERY_S:g}, which go to the agents that draw")
    traffic = (
        f"{options.rate:g} messages a second into {LINES} line agents and {TUIS} that draw like Claude Code."
    )
    print("\n".join([*describe(), traffic]), flush=True)
    with bench_node() as node, tempfile.TemporaryDirectory(prefix="nova-k-", dir="/tmp") as directory:
        folder = Path(directory)
        panes = Panes.open(node.tmux, folder, LINES)
        tuis = [tui(node, folder, f"tui-{n}", hooks=True) for n in range(TUIS)]
        until(lambda: all(a["state"] == "idle" for a in node.call("agents")), 30.0, "every agent idle")
        soak = Soak(node, panes, tuis, to_lines)
        asyncio.run(soak.run(options.minutes))
        verdicts = soak.verdicts()
        dead = node.call("dead_list")
        verdicts.append((f"dead letters: {json.dumps(dead)[:200]}", not dead))
        if options.write:
            command = (
                f"python -m benchmarks.soak --minutes {options.minutes:g} --rate {options.rate:g} --write"
            )
            PAPER.write_text(paper(command, traffic, soak, verdicts))
    for text, good in verdicts:
        print(f"{'ok  ' if good else 'BAD '} {text}")
    print(f"load of the machine (1, 5, 15 minutes): {load()}")
    return 0 if all(good for _, good in verdicts) else 1


if __name__ == "__main__":
    raise SystemExit(main())
