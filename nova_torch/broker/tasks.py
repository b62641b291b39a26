"""Tasks in the broker: records that move only from what they are known to be, and a log of the moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nova_torch.broker import scripts
from nova_torch.broker.part import Part
from nova_torch.broker.wires import Word

LOG = 10_000
PAGE = 200
RANK = ".r"
ANY = "*"
"""In place of the rank that is replaced: any smaller one is."""
BEGIN = "0-0"
TALLIED = ("done", "failed", "ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMove:
    """One move of a task as it goes into the broker.

    `replaces` is the rank of the record that was read, empty for a new task. `graph` is the number of the graph
    that was read before what the task depends on was changed; None: that stays. `tally`: what counts for `agent`.
    """

    id: str
    replaces: str
    rank: str
    raw: bytes
    over: bool
    what: str
    agent: str = ""
    node: str = ""
    graph: str | None = None
    tally: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStep:
    """One entry of the log: what happened to which task."""

    entry: str
    task: str
    rank: str
    what: str
    agent: str
    node: str


class Tasks(Part):
    """The tasks of one broker."""

    async def put_task(self, move: TaskMove) -> tuple[bool, bytes | None]:
        """Make a move. True when it is made (or was made already), else False and the record that is there.

        The record is empty when there is none, and None when only the graph had changed.
        """
        keys = self._keys.tasks
        tally: list[Word] = [
            word for name, number in move.tally.items() for word in (f"{move.agent}.{name}", number)
        ]
        words = await self._link.script(
            scripts.PUT_TASK,
            (keys.all, keys.open, keys.over, keys.log, keys.graph, keys.tally),
            move.id,
            move.replaces,
            move.rank,
            move.raw,
            int(move.over),
            move.what,
            move.agent,
            move.node,
            LOG,
            "" if move.graph is None else move.graph,
            *tally,
        )
        if words[0] == scripts.OK:
            return True, None
        return False, words[1] if words[0] == b"kept" else None

    async def open_tasks(self) -> dict[str, bytes]:
        """Return the records of the tasks that are not over."""
        names = await self._link.command("ZRANGE", self._keys.tasks.open, 0, -1)
        return await self.tasks([name.decode() for name in names])

    async def task_ranks(self, names: Sequence[str]) -> dict[str, str]:
        """Return the ranks of these tasks, as far as there are any."""
        found: dict[str, str] = {}
        for start in range(0, len(names), PAGE):
            page = names[start : start + PAGE]
            ranks = await self._link.batch([("HGET", self._keys.tasks.all, name + RANK) for name in page])
            found |= {name: rank.decode() for name, rank in zip(page, ranks, strict=True) if rank}
        return found

    async def tasks(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return the records of these tasks, as far as there are any."""
        found: dict[str, bytes] = {}
        for start in range(0, len(names), PAGE):
            page = names[start : start + PAGE]
            raws = await self._link.batch([("HGET", self._keys.tasks.all, name) for name in page])
            found |= {name: raw for name, raw in zip(page, raws, strict=True) if raw}
        return found

    async def ended_tasks(self, limit: int) -> list[str]:
        """Return the last tasks that ended, the latest last."""
        found = await self._link.command("ZRANGE", self._keys.tasks.over, -limit, -1)
        return [name.decode() for name in found]

    async def tasks_ended_before(self, at_ms: int, limit: int) -> list[str]:
        """Return tasks that ended before this time of the broker's clock, of the `limit` oldest."""
        flat = await self._link.command("ZRANGE", self._keys.tasks.over, 0, limit - 1, "WITHSCORES")
        return [
            name.decode() for name, ended in zip(flat[::2], flat[1::2], strict=True) if float(ended) < at_ms
        ]

    async def forget_tasks(self, names: Sequence[str]) -> int:
        """Delete tasks that are over; return how many."""
        keys = self._keys.tasks
        if not names:
            return 0
        return int(
            (await self._link.script(scripts.FORGET_TASKS, (keys.all, keys.open, keys.over), *names))[1]
        )

    async def task_graph(self) -> str:
        """Return the number of the graph, for `TaskMove.graph`."""
        word = await self._link.command("GET", self._keys.tasks.graph)
        return word.decode() if word else "0"

    async def task_tallies(self) -> dict[str, dict[str, int]]:
        """Return what became of each agent's tasks: done, failed, and ms that the done ones took."""
        flat = await self._link.command("HGETALL", self._keys.tasks.tally)
        found: dict[str, dict[str, int]] = {}
        for name, number in zip(flat[::2], flat[1::2], strict=True):
            agent, _, what = name.decode(errors="replace").rpartition(".")
            if what in TALLIED:
                found.setdefault(agent, dict.fromkeys(TALLIED, 0))[what] = int(number)
        return found

    async def last_task_step(self) -> str:
        """Return the last entry of the log, from which `task_steps` goes on."""
        found = await self._link.command("XREVRANGE", self._keys.tasks.log, "+", "-", "COUNT", 1)
        return found[0][0].decode() if found else BEGIN

    async def task_steps(self, after: str, *, block_ms: int) -> list[TaskStep]:
        """Return the moves after this entry; wait for one if there is none."""
        reply = await self._link.blocking(
            f"tasks.{after}",
            "XREAD",
            "COUNT",
            PAGE,
            "BLOCK",
            block_ms,
            "STREAMS",
            self._keys.tasks.log,
            after,
        )
        return [_step(entry, fields) for _, entries in reply or () for entry, fields in entries]


def _step(entry: bytes, flat: Sequence[Any]) -> TaskStep:
    fields = dict(zip(flat[::2], flat[1::2], strict=False))

    def text(name: bytes) -> str:
        value: bytes = fields.get(name, b"")
        return value.decode(errors="replace")

    return TaskStep(
        entry=entry.decode(),
        task=text(b"t"),
        rank=text(b"r"),
        what=text(b"w"),
        agent=text(b"a"),
        node=text(b"n"),
    )
