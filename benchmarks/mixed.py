"""Real agents of every kind on one node, told things and killed for minutes: `python -m benchmarks.mixed`.

Steady traffic of people and of the agents among themselves; now and then an agent is killed, made to exit, or
restarted by order. At the end each message's state is held against what the model of its agent saw.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.actors import LABS, READY_S, Actor, furnished
from benchmarks.machine import describe, load
from benchmarks.stage import BenchNode, bench_node
from benchmarks.verdicts import CLAIMED, Ended, Sent, as_table, judged
from nova_torch.errors import NovaError
from nova_torch.protocol.client import Client
from tests.lab.arrived import arrived, asked
from tests.lab.claude import ClaudeLab
from tests.lab.codex import CodexLab
from tests.lab.gemini import GeminiLab
from tests.live.mixed import KINDS as BODIES

DRAIN_S = 240.0
GONE_S = 15.0
"""So long a program that was killed, and all that it had started, may take to be gone."""
DELAYS_S = (0.0, 0.0, 0.3, 1.0, 3.0)
PATIENT = {"NOVA_LIFE_TRIES": "1000", "NOVA_LIFE_BACK_OFF_S": "0.5", "NOVA_LIFE_BACK_OFF_MOST_S": "2"}


@dataclass(slots=True)
class Run:
    """The traffic, the restarts, and what is known of both afterwards."""

    node: BenchNode
    actors: Sequence[Actor]
    rng: random.Random
    sent: list[Sent] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def talk(self, minutes: float, every_s: float, restart_s: float) -> None:
        """Send a message to each agent about every `every_s`, and end one of them about every `restart_s`."""
        now = time.monotonic()
        end = now + minutes * 60
        due = {actor.name: now + self.rng.uniform(0, every_s) for actor in self.actors}
        next_end, next_word = now + restart_s, now + 30
        with ThreadPoolExecutor(4) as pool:
            work: list[Future[None]] = []
            while (now := time.monotonic()) < end:
                for actor in self.actors:
                    if due[actor.name] <= now:
                        due[actor.name] = now + every_s * self.rng.uniform(0.3, 1.7)
                        self.send(actor)
                if next_end <= now:
                    next_end = now + restart_s * self.rng.uniform(0.5, 1.5)
                    work.append(pool.submit(self._end, self.rng.choice(self.actors), self.rng.random()))
                if next_word <= now:
                    next_word = now + 30
                    print(f"  {len(self.sent)} sent, {len(self.ended)} ended, load {load()}", flush=True)
                time.sleep(0.1)
            for done in work:
                done.result()

    def send(self, actor: Actor) -> None:
        """Send one message of some kind: from a person, or from another agent in whose pane the sender runs."""
        actor.stub.delay_s = self.rng.choice(DELAYS_S)
        number = len(self.sent)
        marker = f"[[x-{number}]]"
        args: dict[str, Any] = {"target": actor.name, "body": self.rng.choice(BODIES).replace("{m}", marker)}
        if self.rng.random() < 0.3:
            other = self.rng.choice([one for one in self.actors if one is not actor])
            pane = self._record(other).get("pane")
            if pane:
                args["pane"] = pane
        else:
            args["sender"] = "user:bench"
        receipt = self.node.call("send", args)
        self.sent.append(Sent(id=str(receipt["id"]), agent=actor.name, marker=marker))

    def _record(self, actor: Actor) -> dict[str, Any]:
        return next(dict(row) for row in self.node.call("agents") if row["agent_id"] == actor.name)

    def _end(self, actor: Actor, chance: float) -> None:
        """End an agent in one of three ways, and see that nothing of it is left running."""
        how = "kill -9" if chance < 0.4 else "exit" if chance < 0.7 else "restart"
        before = actor.processes()
        began_ms = time.time_ns() // 1_000_000
        try:
            how = getattr(self, "_" + {"kill -9": "kill", "exit": "exit", "restart": "restart"}[how])(actor)
        except (NovaError, OSError, RuntimeError, ValueError) as error:
            self._trouble(f"{actor.name} could not be ended ({how}): {error}")
            return
        ended_ms = time.time_ns() // 1_000_000
        with self._lock:
            self.ended.append(Ended(agent=actor.name, how=how, began_ms=began_ms, ended_ms=ended_ms))
        if how != "kill -9":
            return
        until = time.monotonic() + GONE_S
        while (left := before.keys() & actor.processes().keys()) and time.monotonic() < until:
            time.sleep(0.2)
        for pid in left:
            self._trouble(f"{actor.name}: {pid} ({before[pid]}) still runs {GONE_S:g} s after the kill -9")

    def _kill(self, actor: Actor) -> str:
        pane = self._record(actor)["pane"]
        os.kill(int(self.node.tmux.value(pane, "pane_pid")), signal.SIGKILL)
        return "kill -9"

    def _exit(self, actor: Actor) -> str:
        """Have it exit as a person does: by its command, or by C-d where the daemon knows none."""
        if actor.lab in (ClaudeLab, CodexLab, GeminiLab):
            text = "/exit" if actor.lab is ClaudeLab else "/quit"
            args = {
                "target": actor.name,
                "body": text,
                "form": "command",
                "sender": "user:bench",
                "ttl_s": 60,
            }
            receipt = self.node.call("send", args)
            with self._lock:
                self.sent.append(Sent(id=str(receipt["id"]), agent=actor.name, marker=""))
            until = time.monotonic() + 60
            while not self.node.receipt(str(receipt["id"]))["final"] and time.monotonic() < until:
                time.sleep(0.2)
            return text
        self.node.tmux.press(self._record(actor)["pane"], "C-d")
        return "C-d"

    def _restart(self, actor: Actor) -> str:
        with Client.connect(self.node.socket, 10.0) as client:
            for _ in client.stream("restart", {"agent_id": actor.name}, READY_S):
                pass
        return "novactl restart"

    def _trouble(self, text: str) -> None:
        with self._lock:
            self.troubles.append(text)

    def drain(self) -> None:
        """Wait until every message is settled."""
        for actor in self.actors:
            actor.stub.delay_s = 0.0
        until = time.monotonic() + DRAIN_S
        waiting = {one.id for one in self.sent}
        while waiting and time.monotonic() < until:
            waiting = {message for message in waiting if not self.node.receipt(message)["final"]}
            time.sleep(0.5)
        self._wait_for_models(until)
        time.sleep(3.0)  # what came twice would come now

    def _wait_for_models(self, until: float) -> None:
        """Wait for what was claimed: after a long conversation an agent asks its model seconds after an Enter."""
        claimed = [one for one in self.sent if one.marker and self.node.receipt(one.id)["state"] in CLAIMED]
        while time.monotonic() < until:
            came = {actor.name: arrived(actor.stub.requests) for actor in self.actors}
            if all(one.marker in came[one.agent] for one in claimed):
                return
            time.sleep(1.0)

    def stop_all(self) -> None:
        """Stop every agent by order; nothing of any may be left."""
        for actor in self.actors:
            try:
                self.node.call("stop_agent", {"agent_id": actor.name}, 60)
            except NovaError as error:
                self._trouble(f"{actor.name} could not be stopped: {error}")
        until = time.monotonic() + GONE_S
        while any(actor.processes() for actor in self.actors) and time.monotonic() < until:
            time.sleep(0.2)
        for actor in self.actors:
            for pid, words in actor.processes().items():
                self._trouble(f"{actor.name}: {pid} ({words}) is left after its stop")


@contextlib.contextmanager
def acting(node: BenchNode, counts: Mapping[str, int]) -> Iterator[list[Actor]]:
    """Give the agents, spawned one after the other and ready; leave nothing behind."""
    with (
        contextlib.ExitStack() as stack,
        tempfile.TemporaryDirectory(prefix="nova-m-", dir="/tmp", ignore_cleanup_errors=True) as folder,
    ):
        actors: list[Actor] = []
        for lab in LABS:
            for number in range(counts.get(lab.kind.name, 0)):
                actor = stack.enter_context(furnished(Path(folder), f"{lab.kind.name}-{number}", lab))
                began = time.monotonic()
                actor.spawn(node, restart="always")
                print(f"  {actor.name} is ready after {time.monotonic() - began:.1f} s", flush=True)
                actors.append(actor)
        yield actors
        node.tmux.stop()


def wanted(each: int, chosen: Sequence[str]) -> dict[str, int]:
    """Return how many agents of each kind there are to be; `chosen` are words like `codex=3`."""
    counts: dict[str, int] = {}
    for word in chosen:
        name, _, number = word.partition("=")
        counts[name] = int(number or each)
    counts = counts or {lab.kind.name: each for lab in LABS}
    for lab in LABS:
        if lab.kind.name in counts and lab.installed().find() is None:
            print(
                f"  SKIPPED: {lab.kind.name} is not installed (python -m tests.lab.install {lab.kind.name})"
            )
            del counts[lab.kind.name]
    return counts


def main() -> int:
    """Run it; return 0 when each claim was true, nothing came twice or is left running, and no defect showed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mixed", description=(__doc__ or "").splitlines()[0]
    )
    names = [lab.kind.name for lab in LABS]
    parser.add_argument("agents", nargs="*", help=f"KIND=COUNT, of {', '.join(names)}; all without one")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long there is traffic (10)")
    parser.add_argument("--each", type=int, default=2, help="how many of each kind (2)")
    parser.add_argument("--every", type=float, default=15.0, help="seconds between messages to an agent (15)")
    parser.add_argument("--restarts", type=float, default=20.0, help="seconds between two ends (20)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    unknown = [word for word in options.agents if word.partition("=")[0] not in names]
    if unknown:
        parser.error(f"there is no kind {unknown[0]!r}; there are: {', '.join(names)}")
    print("\n".join(describe()), flush=True)
    with bench_node(env=PATIENT) as node, acting(node, wanted(options.each, options.agents)) as actors:
        run = Run(node, actors, random.Random(options.seed))
        run.talk(options.minutes, options.every, options.restarts)
        run.drain()
        arrivals = {actor.name: arrived(actor.stub.requests) for actor in actors}
        traces = {one.id: node.call("trace", {"id": one.id}) for one in run.sent}
        run.stop_all()
        asked_ms = {actor.name: asked(actor.stub.requests) for actor in actors}
        rows = judged(run.sent, run.ended, traces, arrivals, asked_ms)
        log = node.log().splitlines()
    print(as_table(rows, run.ended))
    bad = [row for row in rows if row.wrong]
    for row in bad:
        print(f"WRONG {row.sent.agent} {row.sent.marker} {row.sent.id}: {row.wrong}\n      {row.told}")
    for text in run.troubles:
        print(f"WRONG {text}")
    defects = [number for number, line in enumerate(log) if "Traceback (most recent call last)" in line]
    for number in defects[:5]:
        said = "\n      ".join(line[:300] for line in log[max(number - 1, 0) : number + 20])
        print(f"WRONG in the daemon's log:\n      {said}")
    for line in [line for line in log if "failed" in line][:10]:
        print(f"the daemon's log: {line[:300]}")
    print(f"load of the machine (1, 5, 15 minutes): {load()}")
    return 1 if bad or run.troubles or defects else 0


if __name__ == "__main__":
    raise SystemExit(main())
