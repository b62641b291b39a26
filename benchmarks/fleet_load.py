"""Run many nodes in one process: real but for tmux, in whose place a recorder takes what would be typed.

`python -m benchmarks.fleet_load` reads one order a line (JSON) and answers each with a line; the first makes the
nodes. A recorder does what the typist does around its keys: the durable note before, the news `typed`, the verdict.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import os
import random
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import noval_d.node.node as parts
from benchmarks.figures import percentile
from nova_torch.config import load
from nova_torch.ulid import new_ulid
from nova_torch.values import AgentId, AgentSpec, Message, MessageId, PaneId, State
from noval_d.agents.driver_file import read_drivers
from noval_d.agents.spec import write_spec
from noval_d.delivery.item import Item
from noval_d.delivery.worker import Worker
from noval_d.mailroom.store import Statement
from noval_d.memory import kept
from noval_d.node.crew import Crew
from noval_d.node.node import Node
from noval_d.node.part import Part
from noval_d.threads import take_turns
from noval_d.tmux.panes import PaneFacts

PROGRAM = "cat"
TMUX_PARTS = frozenset({"tmux", "panes", "states"})
ROLES = ("developer", "reviewer", "tester", "writer")
SKILLS = ("python", "sql", "rust", "docs")
BODY = "x" * 80
LOOK_S = 0.5


def agents_of(number: int, nodes: int, agents: int) -> list[str]:
    """Return the agents of node `number` of so many nodes."""
    return [f"agent-{n:05}" for n in range(number * agents // nodes, (number + 1) * agents // nodes)]


def node_name(number: int) -> str:
    return f"node-{number:03}"


class Recorder(Worker):
    """Takes an agent's messages in order, and writes down when each would have been typed."""

    times: ClassVar[dict[str, list[float]]] = {}
    """When each message was recorded in this process."""

    async def run(self) -> None:
        """Nothing runs while nothing waits: ten thousand tasks that do nothing are no agents either."""

    def put(self, item: Item) -> None:
        """Take a message over."""
        super().put(item)
        if len(self._waiting) == 1 and self.current is None:
            self._running = asyncio.create_task(self._record())

    async def _record(self) -> None:
        while self._waiting:
            item = self.current = self._waiting.pop(0)
            while not self._lease_ok(item):  # noqa: ASYNC110 - nobody tells of it, the worker waits so too
                await asyncio.sleep(0.1)
            assert (await self.turns.next([item], self._known))[0] is item
            await self._desk.typing(item, "%1")
            self.times.setdefault(item.message.id, []).append(time.monotonic())
            await self._desk.tell(item, State.TYPED)
            await self._desk.settle(item, State.SUBMITTED)
            self._known.pop(item.message.id, None)
            self.current = None


class _NoCrew(Crew):
    """Recorders run by themselves."""

    def add(self, worker: Worker) -> None:
        """Run nothing."""


class FleetNode(Node):
    """A node without the parts that look at tmux."""

    def __init__(self, url: str, name: str, state: Path, agents: Iterable[str]) -> None:
        state.mkdir()
        settings = {
            "HOME": str(state), "NOVA_NODE": name, "NOVA_STATE_DIR": str(state), "NOVA_BROKER_URL": url,
            "NOVA_SOCKET": str(state / "control.sock"), "NOVA_LIMITS_SENDER_OPEN": "0",
        }  # fmt: skip
        super().__init__(load(None, settings))
        self.crew = _NoCrew(self.hooks.take)
        self._names = tuple(agents)

    @property
    def ready(self) -> bool:
        return self.broker.broker is not None and all(map(self.broker.claimed, self.roster.agents))

    async def _prepare(self) -> None:
        await self.store.write(
            *(
                Statement(
                    "INSERT INTO agents (agent, spec) VALUES (?, ?)", (name, write_spec(_spec(name)).encode())
                )
                for name in self._names
            )
        )
        await super()._prepare()
        for agent in self.roster.agents.values():
            agent.moved(_pane(agent.id, self.name), "1.1")

    def _parts(self, serve: parts.Serve) -> tuple[Part, ...]:
        return tuple(part for part in super()._parts(serve) if part.name not in TMUX_PARTS)


class Load:
    """The nodes of this process, and what was sent from them."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._rng = random.Random(order["seed"])
        self._targets = [
            name for n in order["targets"] for name in agents_of(n, order["nodes"], order["agents"])
        ]
        self.nodes = [
            FleetNode(
                order["url"], node_name(number), Path(order["folder"], node_name(number)),
                agents_of(number, order["nodes"], order["agents"]),
            )
            for number in order["numbers"]
        ]  # fmt: skip
        self.accepted: dict[str, float] = {}
        self.offered: dict[str, float] = {}

    async def start(self) -> dict[str, Any]:
        """Start every node, and return when all mailboxes are theirs."""
        begun = time.monotonic()
        self._tasks = [asyncio.create_task(node.run(_nothing)) for node in self.nodes]
        while not all(node.ready for node in self.nodes):
            for task in self._tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.05)
        kept()
        return {"took_s": time.monotonic() - begun}

    async def send(self, rate: float, seconds: float) -> dict[str, Any]:
        """Accept messages at a steady rate, each on a node and for an agent by chance."""
        tasks: set[asyncio.Task[None]] = set()
        late_s: list[float] = []
        begun = time.monotonic()
        for n in range(round(rate * seconds)):
            due = begun + n / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            late_s.append(time.monotonic() - due)
            task = asyncio.create_task(
                self._accept(self._rng.choice(self.nodes), self._rng.choice(self._targets))
            )
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        return {"took_s": time.monotonic() - begun, "late_p99_s": percentile(late_s, 0.99)}

    async def _accept(self, node: FleetNode, target: str) -> None:
        message = Message(
            id=MessageId(new_ulid()), sender="user:fleet", target=target, body=BODY,
            created_ms=node.clock_ms(), headers={"origin": node.name, "agent": target},
        )  # fmt: skip
        self.offered[message.id] = time.monotonic()
        await node.outbox.accept(message, AgentId(target), limited=True)
        self.accepted[message.id] = time.monotonic()

    async def settled(self, timeout_s: float) -> dict[str, Any]:
        """Wait until every message that was sent here has its verdict; return how many have none."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if not any(node.outbox.depth() for node in self.nodes):
                break
            await asyncio.sleep(0.1)
        return {"open": sum(node.outbox.depth() for node in self.nodes)}

    def told(self) -> dict[str, Any]:
        """Return when each message was offered and accepted here, and when each was recorded here."""
        return {"offered": self.offered, "accepted": self.accepted, "recorded": Recorder.times}

    async def gone(self, name: str, timeout_s: float) -> dict[str, Any]:
        """Return when one of these nodes sees that another one does not live."""
        node, end = self.nodes[0], time.monotonic() + timeout_s
        while time.monotonic() < end:
            if any(view.node == name and not view.alive for view in await node.others.views()):
                return {"at": time.monotonic()}
            await asyncio.sleep(LOOK_S)
        return {"at": None}

    async def stop(self) -> None:
        for node in self.nodes:
            node.stop()
        await asyncio.gather(*self._tasks)


async def _nothing(node: Node) -> None:
    await node.stopping.wait()


def _spec(name: str) -> AgentSpec:
    number = int(name.rpartition("-")[2])
    return AgentSpec(
        agent_id=AgentId(name), role=ROLES[number % 4], skills=(SKILLS[number % 4], SKILLS[number // 4 % 4]),
        driver="line", program=PROGRAM,
    )  # fmt: skip


def _pane(name: str, node: str) -> PaneFacts:
    return PaneFacts(
        pane_id=PaneId("%1"), pid=os.getpid(), tty="/dev/pts/999", command=PROGRAM, dead=False, in_mode=False,
        input_off=False, synchronized=False, title=name, session="nova", window_index=1, window_name=name,
        cursor_x=0, cursor_y=0, cursor_visible=True, width=200, height=50, nova_agent=name, nova_node=node,
    )  # fmt: skip


@contextlib.contextmanager
def recorders() -> Iterator[None]:
    """Give the nodes that are made meanwhile recorders for workers, and drivers that are read once for all."""
    worker, drivers = parts.Worker, parts.read_drivers  # type: ignore[attr-defined]  # no names that it gives
    parts.Worker, parts.read_drivers = Recorder, functools.cache(read_drivers)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        parts.Worker, parts.read_drivers = worker, drivers  # type: ignore[attr-defined]


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    made: Load | None = None
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        answer: Any = {}
        match order.pop("do"):
            case "start":
                made = Load(order)
                answer = await made.start()
            case "send":
                assert made is not None
                answer = await made.send(**order)
            case "settled":
                assert made is not None
                answer = await made.settled(**order)
            case "gone":
                assert made is not None
                answer = await made.gone(**order)
            case "told":
                assert made is not None
                answer = made.told()
            case "stop":
                assert made is not None
                await made.stop()
        print(json.dumps(answer), flush=True)


def main() -> None:
    """Serve orders until the end of the input."""
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with contextlib.suppress(ImportError):
        import uvloop

        uvloop.install()
    take_turns()
    with recorders():
        asyncio.run(_serve())


if __name__ == "__main__":
    main()
