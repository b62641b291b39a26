"""Measure `send-claude-message.sh`: ours, with a daemon and without, against the original's sequence in one run."""

from __future__ import annotations

import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.figures import Report, median, ms, percentile, times
from benchmarks.stage import BenchNode, Panes, bench_node, body, cached_environment, once, register_all
from tests.support.legacy import SEND
from tests.support.node import until
from tests.support.original import put

ROUNDS, ORIGINAL_ROUNDS = 60, 12
WARM_UP = 3
SENDERS, EACH, ORIGINAL_EACH = 4, 25, 5
FASTER = 5.0
"""So many times faster than the original the script must be on an idle line pane."""


@dataclass(slots=True)
class Road:
    """One way to send: a script, its environment, and panes of its own; how long its calls took."""

    what: str
    script: str
    env: dict[str, str]
    panes: Panes
    rounds: int
    each: int
    calls: list[float] = field(default_factory=list)
    sent: dict[str, float] = field(default_factory=dict)
    """When each message's call began, by its first word."""
    rate: float = 0.0

    def send(self, pane: int, word: str) -> float:
        """Send one message and return the seconds from start to exit."""
        argv = [self.script, self.panes.ids[pane], body(word)]
        began = self.sent[word] = time.monotonic()
        done = subprocess.run(argv, env=self.env, capture_output=True, check=False, timeout=30)
        assert done.returncode == 0, (self.what, done.stderr)
        assert done.stdout.startswith(b"Message sent to"), (self.what, done.stdout)
        return time.monotonic() - began

    def wait(self) -> dict[str, list[float]]:
        """Wait until every message has arrived; return when, by its first word."""
        until(lambda: self.panes.count() >= len(self.sent), 30.0, f"the messages of: {self.what}")
        return self.panes.arrived()

    def latencies(self) -> list[float]:
        """Return the seconds from the start of each call that counts to the last byte in the pane."""
        arrived = self.wait()
        return [arrived[word][0] - began for word, began in self.sent.items() if word.startswith("one-")]

    def at_once(self) -> None:
        """Send from several senders, each into a pane of its own; note messages a second."""

        def sender(pane: int) -> None:
            for n in range(self.each):
                self.send(pane, f"many-{pane}-{n}")

        began = time.monotonic()
        with ThreadPoolExecutor(SENDERS) as pool:
            list(pool.map(sender, range(SENDERS)))
        self.wait()
        self.rate = SENDERS * self.each / (time.monotonic() - began)


def run() -> list[Report]:
    with tempfile.TemporaryDirectory(prefix="nova-k-", dir="/tmp") as directory, bench_node() as node:
        return [_measure(node, Path(directory))]


def _measure(node: BenchNode, folder: Path) -> Report:
    base = {**cached_environment(), **node.environment}
    within = node.tmux.open("sleep 100000")
    server = node.tmux.value(within, "pid")
    plain = {**base, "TMUX": f"{node.tmux.socket_path},{server},0", "TMUX_PANE": within}
    alone = {**base, "NOVA_SOCKET": str(folder / "no-daemon.sock")}
    stand_in = str(put(folder / "original") / "send-claude-message.sh")
    roads = []
    for name, what, script, env, rounds, each in (
        ("a", "ours, a registered line agent", SEND, base, ROUNDS, EACH),
        ("b", "ours, a pane that nobody registered", SEND, base, ROUNDS, EACH),
        ("c", "ours, without a daemon", SEND, alone, ROUNDS, EACH),
        (
            "d",
            "the original's way: send-keys, sleep 0.5, Enter",
            stand_in,
            plain,
            ORIGINAL_ROUNDS,
            ORIGINAL_EACH,
        ),
    ):
        (folder / name).mkdir()
        roads.append(Road(what, script, env, Panes.open(node.tmux, folder / name, SENDERS), rounds, each))
    register_all(node, roads[0].panes)
    for turn in range(WARM_UP + ROUNDS):
        for road in roads:
            if turn < WARM_UP + road.rounds:
                took = road.send(0, f"one-{turn}" if turn >= WARM_UP else f"warm-{turn}")
                if turn >= WARM_UP:
                    road.calls.append(took)
    for road in roads:
        road.at_once()
    report = Report(
        title="send-claude-message.sh into an idle line pane",
        columns=(
            "n",
            "call p50 ms",
            "p99 ms",
            "in the pane p50 ms",
            "p99 ms",
            "original / p50",
            f"{SENDERS} senders, messages/s",
        ),
    )
    slow = median(roads[-1].latencies())
    for road in roads:
        found = road.latencies()
        mid = median(found)
        good = slow / mid >= FASTER and once(road.panes.arrived(), list(road.sent)) == "each exactly once"
        report.add(
            road.what,
            str(len(found)),
            ms(median(road.calls)),
            ms(percentile(road.calls, 0.99)),
            ms(mid),
            ms(percentile(found, 0.99)),
            times(slow, mid),
            f"{road.rate:.1f}",
            target=f">= {FASTER:g}x" if road is roads[0] else "",
            met=good if road is roads[0] else None,
        )
    counts = {road.what: once(road.panes.arrived(), list(road.sent)) for road in roads}
    report.notes.append(
        "Run in turn, each a process of its own. The call: start to exit, the shell and Python included. "
        "In the pane: from the start of the script to the return of the read that gave the pane's raw-mode "
        "program the last byte, Enter's. The senders work at once, each into a pane of its own. "
        f"Arrived: {'; '.join(f'{what}: {found}' for what, found in counts.items())}."
    )
    return report
