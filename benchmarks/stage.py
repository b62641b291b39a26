"""Set up what is measured: a node (the real daemon and its embedded broker) and panes that log arrivals."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nova_torch.broker import Broker, Enqueue, Lane
from nova_torch.codec import encode_message
from nova_torch.ulid import new_ulid
from nova_torch.values import Message, MessageId
from tests.lab.tmux import PrivateTmux
from tests.support.node import ROOT, START_S, TestNode, until

ARRIVALS = Path(__file__).with_name("arrivals.py")
SENDER_NODE = "elsewhere"
BODY_BYTES = 80


@dataclass(slots=True)
class BenchNode(TestNode):
    """A node as the tests run it, but without their capture of every command: that costs the broker time."""

    __test__ = False

    module: str = "noval_d"

    def start(self, *, wait: bool = True) -> None:
        log = open(self.state / "daemon.log", "ab")  # noqa: SIM115 - the child's
        with log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.module],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            self.wait_ready()

    def wait_up(self) -> None:
        def up() -> bool:
            status = self.call("status")
            return bool(status["broker"]["state"] == "up" and status["tmux"][0]["state"] == "up")

        until(up, START_S, f"broker and tmux ({self.log()[-2000:]})")

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def broker(self) -> Broker:
        """Connect to the node's broker as another node does."""
        return await Broker.connect(f"unix://{self.state / 'broker' / 'broker.sock'}")


def new_state() -> Path:
    """Make a state directory for a node that is yet to be started; the node removes it."""
    return Path(tempfile.mkdtemp(prefix="nova-b-", dir="/tmp"))


@contextlib.contextmanager
def bench_node(
    *,
    module: str = "noval_d",
    env: Mapping[str, str] | None = None,
    tmux: PrivateTmux | None = None,
    state: Path | None = None,
) -> Iterator[BenchNode]:
    """Give a running node; it serves `tmux`, or a private server of its own. Leaves nothing behind."""
    state = state or new_state()
    (state / "home").mkdir()
    with contextlib.ExitStack() as stack:
        if tmux is None:
            tmux = stack.enter_context(PrivateTmux.create())
            tmux.open("sleep 100000")
        made = BenchNode(tmux=tmux, state=state, env=dict(env or {}), module=module)
        stack.callback(made.clean_up)
        made.start()
        made.wait_up()
        yield made


@dataclass(frozen=True, slots=True)
class Panes:
    """Panes whose programs log what arrives. `ids` are tmux's, `logs` in the same order."""

    ids: tuple[str, ...]
    logs: tuple[Path, ...]

    @classmethod
    def open(cls, tmux: PrivateTmux, folder: Path, count: int) -> Panes:
        """Open `count` of them, each in a session of its own; return when all read."""
        logs = tuple(folder / f"arrivals-{n}" for n in range(count))
        command = [sys.executable, "-I", "-S", str(ARRIVALS)]
        ids = tuple(tmux.open(shlex.join([*command, str(log)])) for log in logs)
        until(lambda: all(log.exists() and log.stat().st_size for log in logs), 30.0, "the panes' programs")
        return cls(ids, logs)

    def arrived(self) -> dict[str, list[float]]:
        """Return for each message's first word when it arrived, in monotonic seconds."""
        found: dict[str, list[float]] = {}
        for log in self.logs:
            for line in log.read_text(errors="replace").splitlines()[1:]:
                when, _, word = line.partition(" ")
                found.setdefault(word, []).append(int(when) / 1e9)
        return found

    def count(self) -> int:
        """Return how many messages arrived so far."""
        return sum(log.read_bytes().count(b"\n") - 1 for log in self.logs)


def register_all(node: TestNode, panes: Panes) -> list[str]:
    """Register each pane as a line agent; return the names when the broker takes messages for all."""
    names = [f"line-{n:02}" for n in range(len(panes.ids))]
    for name, pane in zip(names, panes.ids, strict=True):
        node.register(name, pane)
    return names


def body(word: str) -> str:
    """Return a message of eighty bytes that begins with `word`."""
    return f"{word} ".ljust(BODY_BYTES, "x")


def remote(agent: str, text: str) -> Enqueue:
    """Return a message as a remote node puts it into the mailbox of `agent`."""
    message = Message(
        id=MessageId(new_ulid()),
        sender="user:benchmark",
        target=agent,
        body=text,
        created_ms=time.time_ns() // 1_000_000,
        headers={"origin": SENDER_NODE, "agent": agent},
    )
    return Enqueue(
        agent=agent, message_id=message.id, lane=Lane.MBX, payload=encode_message(message), limit=100_000
    )


def once(arrived: Mapping[str, list[float]], words: list[str]) -> str:
    """Say whether each of `words` arrived exactly once."""
    counts = Counter({word: len(arrived.get(word, [])) for word in words})
    lost = sum(count == 0 for count in counts.values())
    twice = sum(count > 1 for count in counts.values())
    return "each exactly once" if not lost and not twice else f"{lost} LOST, {twice} TWICE"


def cached_environment() -> dict[str, str]:
    """Return this environment without what keeps Python from caching bytecode."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
