"""Many senders, awkward bodies, and the log of a pane parsed into exactly what was sent."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nova_torch.clean import clean
from nova_torch.errors import Busy, DaemonUnreachable, ShuttingDown, TimedOut
from nova_torch.protocol.client import Client
from nova_torch.ulid import new_ulid
from tests.support.node import TestNode, until

LETTERS = "abcdefghijklmnopqrstuvwxyz"
BEGIN, END = b"\x1b[200~", b"\x1b[201~"
PASSING = (DaemonUnreachable, TimedOut, ShuttingDown, Busy)
RETRY_S = 0.05

SMALL = (
    "eighty bytes " * 6,
    "many\nlines\n\nand an empty one\n",
    "tab\there\t\tand there",
    "emoji 👩‍👩‍👧 🇩🇪 👍🏽, combining e\u0301 a\u0308\u0323, wide 你好, right to left שלום",
    "Enter",
    "C-c",
    "-x",
    "it ends; with;",
    "$(touch x) `touch y` ${HOME} ~ # %% #{pane_id} #(touch z)",
    "quotes ' \" \\ and a trailing \\",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1bc \x9b2J",
    "out of the bracket \x1b[201~\rrm -rf x\r",
    "nul \x00 in \x00\x00 it, bell \x07, delete \x7f",
    "carriage\rreturns\r\nand feeds\n\r",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What one sender sends, in order: ids and bodies."""

    sender: str
    messages: tuple[tuple[str, str], ...]


def plans(
    rng: random.Random, *, senders: int, each: int, large: Sequence[int] = (), single: bool = True
) -> list[Plan]:
    """Return `senders` plans of `each` messages; sizes in `large` are dealt out among all of them.

    A body begins with its sender and number. With `single` every sender also sends its own letter alone.
    """
    places = list(itertools.product(range(senders), range(each)))
    sizes = dict(zip(rng.sample(places, len(large)), large, strict=True))
    made: list[Plan] = []
    for number in range(senders):
        alone = rng.randrange(each) if single else -1
        bodies: list[str] = []
        for seq in range(each):
            tag = f"<{number:02}-{seq:04}>"
            size = sizes.get((number, seq))
            if size is not None:
                bodies.append(tag + filler(rng, size - len(tag)))
            elif seq == alone:
                bodies.append(LETTERS[number])
            else:
                bodies.append(tag + rng.choice(SMALL))
        made.append(Plan(f"user:s{number}", tuple((new_ulid(), body) for body in bodies)))
    return made


def filler(rng: random.Random, size: int) -> str:
    """Return `size` bytes of printable text with some line feeds."""
    line = "".join(rng.choices(LETTERS + " 0123456789", k=97)) + "\n"
    return (line * (size // len(line) + 1))[:size]


def expected(body: str, *, bracketed: bool = False) -> bytes:
    """Return the bytes a program that reads lines gets for `body`."""
    text = clean(body).encode()
    return (BEGIN + text + END if bracketed else text) + b"\r"


@dataclass(slots=True)
class Senders:
    """Threads that send their plans, each over its own connection, until everything is accepted."""

    node: TestNode
    target: str
    plans: Sequence[Plan]
    pace_s: float = 0.0
    """Longest random pause between two messages of a sender."""
    seed: int = 0
    errors: list[str] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        for plan in self.plans:
            thread = threading.Thread(target=self._guarded, args=(plan,), name=plan.sender, daemon=True)
            self._threads.append(thread)
            thread.start()

    @property
    def alive(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def join(self, timeout_s: float) -> None:
        """Wait until everything is accepted; fail when a sender met an error that does not pass."""
        end = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        assert not self.errors, self.errors
        assert not self.alive, f"still sending after {timeout_s} s"

    def _guarded(self, plan: Plan) -> None:
        try:
            self._send(plan)
        except Exception as error:  # noqa: BLE001 - shown by join
            self.errors.append(f"{plan.sender}: {error!r}")

    def _send(self, plan: Plan) -> None:
        rng = random.Random(f"{self.seed}{plan.sender}")
        client: Client | None = None
        try:
            for message_id, body in plan.messages:
                args = {"id": message_id, "target": self.target, "body": body, "sender": plan.sender}
                while True:
                    try:
                        client = client or Client.connect(self.node.socket, 10.0)
                        client.call("send", args)
                        break
                    except PASSING:
                        if client is not None:
                            client.close()
                        client = None
                        time.sleep(RETRY_S)
                time.sleep(rng.uniform(0, self.pace_s))
        finally:
            if client is not None:
                client.close()


def wait_final(node: TestNode, sent: Sequence[Plan], timeout_s: float) -> Counter[str]:
    """Wait until every message has its last state; return how many have which."""
    waiting = {message_id for plan in sent for message_id, _ in plan.messages}
    states: Counter[str] = Counter()

    def done() -> bool:
        for message_id in sorted(waiting):
            receipt = node.receipt(message_id)
            if not receipt["final"]:
                return False
            states[receipt["state"]] += 1
            waiting.discard(message_id)
        return True

    try:
        until(done, timeout_s, "the last message")
    except AssertionError:
        left = sorted(waiting)
        raise AssertionError(
            f"{len(left)} messages are not final after {timeout_s} s, the first: "
            f"{node.call('trace', {'id': left[0]})}; {node.call('status')}; {node.log()[-3000:]}"
        ) from None
    return states


def parse(log: bytes, sent: Sequence[Plan], *, bracketed: bool = False) -> list[str]:
    """Return what is wrong with `log`: it must be the messages of all senders, whole, once, in order for each."""
    todo: Mapping[str, list[bytes]] = {
        plan.sender: [expected(body, bracketed=bracketed) for _, body in plan.messages] for plan in sent
    }
    at = 0
    while at < len(log):
        sender = next((s for s, left in todo.items() if left and log.startswith(left[0], at)), None)
        if sender is None:
            nexts = {s: left[0][:40] for s, left in todo.items() if left}
            return [f"at byte {at} of {len(log)} stands {log[at : at + 120]!r}; it could be {nexts}"]
        at += len(todo[sender].pop(0))
    return [f"{sender}: {len(left)} missing, first {left[0][:60]!r}" for sender, left in todo.items() if left]


def read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
