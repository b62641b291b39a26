"""kill -9 of daemons, broker and tmux clients every few seconds under load: `python -m benchmarks.kills`.

Two nodes share one server. Both send to the agents of both, which log each byte (and two that draw like Claude
Code, each prompt). At the end every message's state is held against what its pane received.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import secrets
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.machine import describe, load
from benchmarks.stage import BenchNode, bench_node
from nova_torch.errors import AgentNotFound, NovaError
from nova_torch.protocol.client import Client
from nova_torch.ulid import new_ulid
from tests.support.agents import Raw, Tui, shown, tui
from tests.support.node import until
from tests.support.servers import OwnServer, own_server
from tests.support.traffic import BEGIN, END, PASSING, RETRY_S, SMALL, expected

LINES, TUIS = 10, 1
"""Agents of each kind on each node."""
TUI_SHARE = 0.04
"""The share of messages for those that draw: one takes its time with each."""
SENDERS = 8
SETTLE_S = 180.0
DOWN_S = 3.0
"""The longest time for which the broker stays away."""
CLAIMED = ("submitted", "acknowledged", "replied")
BLOCK = re.compile(re.escape(BEGIN) + b".*?" + re.escape(END) + b"\r", re.DOTALL)
VICTIMS = ("near daemon", "far daemon", "broker", "near tmux client", "far tmux client")


@dataclass(slots=True)
class Sent:
    """One message; `arrival` is what its pane has for it when it came."""

    id: str
    node: BenchNode
    agent: str
    arrival: str | bytes
    state: str = ""
    reason: str = ""


@dataclass(slots=True)
class Run:
    """The stage, what was sent, and how often what was killed."""

    server: OwnServer
    nodes: Sequence[BenchNode]
    lines: Sequence[Raw]
    tuis: Sequence[Tui]
    rng: random.Random
    sent: list[Sent] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def go(self, messages: int, rate: float, every_s: float) -> None:
        """Send so many messages, and kill something about every `every_s` until the last one is accepted."""
        numbers = iter(range(messages))
        threads = [
            threading.Thread(target=self._sending, args=(numbers, SENDERS / rate, n), daemon=True)
            for n in range(SENDERS)
        ]
        for thread in threads:
            thread.start()
        began = said = time.monotonic()
        while any(thread.is_alive() for thread in threads):
            time.sleep(every_s * self.rng.uniform(0.3, 1.7))
            self._kill(self.rng.choice(VICTIMS))
            if time.monotonic() - said > 30:
                said = time.monotonic()
                kills = self.kills.total()
                print(
                    f"  {said - began:4.0f} s: {len(self.sent)} accepted, {kills} kills, load {load()}",
                    flush=True,
                )
        for node in self.nodes:
            node.wait_ready()

    def _sending(self, numbers: Iterator[int], pause_s: float, seed: int) -> None:
        try:
            self._send_all(numbers, pause_s, random.Random(f"{seed}{self.rng.random()}"))
        except Exception as error:  # noqa: BLE001 - shown at the end, as a failure
            self.errors.append(f"sender {seed}: {error!r}")

    def _send_all(self, numbers: Iterator[int], pause_s: float, rng: random.Random) -> None:
        clients: dict[str, Client] = {}
        begin = time.monotonic()
        for turn in range(1_000_000):
            with self._lock:
                number = next(numbers, None)
            if number is None:
                break
            message, body = self._made(number, rng)
            args = {"id": message.id, "target": message.agent, "body": body, "sender": f"user:s{number % 7}"}
            where = message.node.socket
            end = time.monotonic() + SETTLE_S
            while True:
                try:
                    client = clients.get(where) or Client.connect(where, 10.0)
                    clients[where] = client
                    client.call("send", args)
                    break
                except (*PASSING, AgentNotFound):  # without the broker a new daemon knows its own agents only
                    assert time.monotonic() < end, f"{message.id} found no taker within {SETTLE_S:g} s"
                    if (broken := clients.pop(where, None)) is not None:
                        broken.close()
                    time.sleep(RETRY_S)
            with self._lock:
                self.sent.append(message)
            time.sleep(max(0.0, begin + turn * pause_s - time.monotonic()) * rng.uniform(0.5, 1.0))
        for client in clients.values():
            client.close()

    def _made(self, number: int, rng: random.Random) -> tuple[Sent, str]:
        node = rng.choice(self.nodes)
        if rng.random() < TUI_SHARE:
            drawn = rng.choice(self.tuis)
            body = f"message {number} for {drawn.name}"
            return Sent(new_ulid(), node, drawn.name, shown(body)), body
        body = f"<{number:06}>{rng.choice(SMALL)}"
        return Sent(new_ulid(), node, rng.choice(self.lines).name, expected(body, bracketed=True)), body

    def _kill(self, victim: str) -> None:
        node = self.nodes[0 if victim.startswith("near") else 1]
        if victim == "broker":
            self.server.kill()
            time.sleep(self.rng.uniform(0.0, DOWN_S))
            self.server.start()
        elif victim.endswith("daemon"):
            node.kill()
            node.start(wait=False)
        elif not kill_control_client(node):
            return
        self.kills[victim] += 1

    def settle(self) -> None:
        """Wait until every message has its last state; note those that have none in time."""
        left, end = list(self.sent), time.monotonic() + SETTLE_S
        while left and time.monotonic() < end:
            still: list[Sent] = []
            for message in left:
                receipt = message.node.receipt(message.id)
                message.state, message.reason = str(receipt["state"]), str(receipt["reason"])
                if not receipt["final"]:
                    still.append(message)
            left = still
            time.sleep(0.5)
        self.errors += [f"{one.id} to {one.agent} is still {one.state} ({one.reason})" for one in left]
        time.sleep(3.0)  # what came twice would come now

    def arrivals(self) -> dict[tuple[str, str | bytes], int]:
        """Return how often each pane got each text; what is no message of anybody's is an error."""
        found: Counter[tuple[str, str | bytes]] = Counter()
        for line in self.lines:
            log = line.bytes()
            blocks = BLOCK.findall(log)
            found.update((line.name, block) for block in blocks)
            if rest := len(log) - sum(map(len, blocks)):
                self.errors.append(f"{line.name} got {rest} bytes that belong to no message")
        for one in self.tuis:
            found.update((one.name, text) for text in one.prompts())
        known = {(message.agent, message.arrival) for message in self.sent}
        self.errors += [
            f"{agent} got {text!r:.80}, which nobody sent"
            for agent, text in found
            if (agent, text) not in known
        ]
        return found


def kill_control_client(node: BenchNode) -> bool:
    """kill -9 the daemon's own tmux client; False when it has none just now."""
    with contextlib.suppress(psutil.Error, ProcessLookupError):
        for child in psutil.Process(node.pid).children():
            if "-C" in child.cmdline():
                os.kill(child.pid, signal.SIGKILL)
                return True
    return False


def verdicts(sent: Sequence[Sent], found: dict[tuple[str, str | bytes], int]) -> tuple[list[str], list[str]]:
    """Return what there is to say, and what is wrong, of states held against arrivals."""
    counts = [(one, found.get((one.agent, one.arrival), 0)) for one in sent]
    wrong = [f"{one.id} to {one.agent} is {one.state}, and came {n} times" for one, n in counts if n > 1]
    wrong += [
        f"{one.id} to {one.agent} is {one.state} ({one.reason}), and never came"
        for one, n in counts
        if n == 0 and one.state in CLAIMED
    ]
    wrong += [
        f"{one.id} to {one.agent} is {one.state} ({one.reason})"
        for one, _ in counts
        if one.state not in (*CLAIMED, "unconfirmed")
    ]
    states = Counter(one.state for one in sent)
    unsure = [n for one, n in counts if one.state == "unconfirmed"]
    once, never = (sum(n == times for _, n in counts) for times in (1, 0))
    return [
        f"{len(sent)} messages accepted: {', '.join(f'{n} {state}' for state, n in states.most_common())}",
        f"arrived once: {once}, more than once: {len(counts) - once - never}, never: {never}",
        f"of the {len(unsure)} unconfirmed {sum(unsure)} had arrived",
    ], wrong


def named(count: int, node: BenchNode, folder: Path, name: str) -> list[Raw]:
    """Open and register so many agents that log every byte and take pastes in brackets."""
    made = []
    for number in range(count):
        log = folder / f"{name}-{number}.bytes"
        pane = node.tmux.open_program("rawlog.py", [str(log), "--bracketed"])
        node.tmux.wait_for(pane, "READY")
        node.register(f"{name}-{number}", pane)
        made.append(Raw(node, f"{name}-{number}", pane, log))
    return made


def main() -> int:
    """Run it; return 0 when nothing was lost, nothing came twice and no claim was false."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kills", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=16.0, help="messages a second (16)")
    parser.add_argument("--every", type=float, default=3.0, help="seconds between two kills (3)")
    parser.add_argument("--seed", type=int, default=0, help="0: a new one, which is printed")
    options = parser.parse_args()
    seed = options.seed or secrets.randbits(32)
    print("\n".join([*describe(), f"seed {seed}"]), flush=True)
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nova-k-", dir="/tmp")))
        server = stack.enter_context(own_server("--appendonly", "yes"))
        password = folder / "password"
        password.touch(0o600)
        password.write_text(server.password)
        nodes = [
            stack.enter_context(
                bench_node(
                    env={
                        "NOVA_NODE": name,
                        "NOVA_BROKER_URL": server.url_of("default"),
                        "NOVA_BROKER_PASSWORD_FILE": str(password),
                    }
                )
            )
            for name in ("near", "far")
        ]
        lines = [one for node in nodes for one in named(LINES, node, folder, f"{node.env['NOVA_NODE']}-line")]
        tuis = [
            tui(node, folder, f"{node.env['NOVA_NODE']}-tui-{n}", hooks=True)
            for node in nodes
            for n in range(TUIS)
        ]
        agents = len(lines) + len(tuis)
        until(lambda: all(len(node.call("agents")) == agents for node in nodes), 30.0, "one registry")
        run = Run(server, nodes, lines, tuis, random.Random(seed))
        run.go(options.messages, options.rate, options.every)
        try:
            run.settle()
        except NovaError as error:
            run.errors.append(f"a node does not answer: {error}")
        said, wrong = verdicts(run.sent, run.arrivals())
        tracebacks = sum(node.log().count("Traceback (most recent call last)") for node in nodes)
    wrong += run.errors
    if tracebacks:
        wrong.append(f"{tracebacks} tracebacks in the daemons' logs")
    kills = ", ".join(f"{name} {count}" for name, count in sorted(run.kills.items()))
    print("\n".join([*said, f"killed with -9: {kills}", f"{time.monotonic() - began:.0f} s, load {load()}"]))
    for text in wrong[:40]:
        print(f"WRONG {text}")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
