"""What a task is, and every move that it can make. No I/O.

A task lies in the broker as one record. Each move is made by a pure function and written only if nobody moved the
task since it was read, so of two that are made at once one is refused. Of two records of one task the later one
is told by its `rank`: a broker that came back from an old snapshot takes nothing back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, NewType

import msgpack

from nova_torch.durations import spoken
from nova_torch.errors import Conflict, InvalidRequest
from nova_torch.ulid import is_ulid, new_ulid
from nova_torch.values import AGENT_ID, MessageId, NodeId, Priority

TaskId = NewType("TaskId", str)

SCHEMA = 1
STEPS = 50
"""So many steps of a task's history are kept, the last ones."""
ORDER = {Priority.URGENT: 0, Priority.HIGH: 1, Priority.NORMAL: 2, Priority.LOW: 3}


class Status(StrEnum):
    """Where a task is."""

    QUEUED = "queued"
    ASSIGNED = "assigned"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


OVER = frozenset({Status.DONE, Status.FAILED, Status.CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happened to a task: what, when, by or to whom, and why."""

    at_ms: int
    what: str
    who: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A piece of work. What is asked for comes first, then how far it is."""

    id: TaskId
    title: str
    body: str = ""
    role: str = ""
    skills: tuple[str, ...] = ()
    priority: Priority = Priority.NORMAL
    deadline_s: float | None = None
    """How long one agent may have it; then it is taken back."""
    retries: int = 3
    """How often it is given again after an agent died with it, failed it or took too long."""
    depends_on: tuple[TaskId, ...] = ()
    creator: str
    origin: NodeId
    answers: str
    """The mailbox for answers to the message that carries it."""
    created_ms: int

    version: int = 1
    turn: int = 0
    """How often it was opened again after its end."""
    status: Status = Status.QUEUED
    attempt: int = 0
    agent: str = ""
    node: str = ""
    life: str = ""
    """Which pane and process of the agent has it: another one is not told of it."""
    since_ms: int
    """When it came to its present status."""
    wanted: str = ""
    """The one agent that it is for."""
    claimed: bool = False
    """Whether its agent took it itself, and was told of it by that."""
    note: str = ""
    progress: int | None = None
    result: str = ""
    artifacts: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()

    def __repr__(self) -> str:
        return f"<Task {self.id} {self.status} v{self.version} {self.agent} attempt={self.attempt}>"

    @property
    def over(self) -> bool:
        """Whether it is at its end."""
        return self.status in OVER

    @property
    def rank(self) -> str:
        """Return a text that is greater the later this record is; an end is later than anything before it."""
        return f"{self.turn:04d}.{int(self.over)}.{self.version:09d}"

    @property
    def place(self) -> tuple[int, int, str]:
        """Return its place among those that wait: the most urgent first, then the oldest."""
        return (ORDER[self.priority], self.created_ms, self.id)

    @property
    def tried(self) -> frozenset[str]:
        """Return the agents that had it and did not end it, since it was opened, or given anew by order."""
        had: set[str] = set()
        agent = ""
        for step in self.steps:
            if step.what in ("assigned", "claimed"):
                agent = step.who
            elif step.what == "reassigned":
                had.clear()
            elif step.what in ("released", "overdue"):
                had.add(agent or step.who)
        return frozenset(had)

    @property
    def due_ms(self) -> int | None:
        """When it is taken back from the agent that has it; None: never."""
        if self.status is not Status.ASSIGNED or self.deadline_s is None:
            return None
        return self.since_ms + int(self.deadline_s * 1000)

    def message_id(self) -> MessageId:
        """Return the id of the message that carries this attempt, the same whoever sends it and whenever."""
        return self._message(f"{self.turn} {self.attempt} {self.agent} {self.life}")

    def reminder_id(self) -> MessageId:
        """Return the id of the message that reminds its agent of this attempt: there is one."""
        return self._message(f"{self.turn} {self.attempt} {self.agent} {self.life} reminder")

    def notice_id(self, agent: str, rank: str) -> MessageId:
        """Return the id of the message that tells an agent that the move of this rank took the task from it."""
        return self._message(f"{rank} notice {agent}")

    def lost(self, agent: str, rank: str) -> bool:
        """Return whether the agent that a move of this rank took it from has it no longer, whatever came since."""
        return self.rank == rank or (self.rank > rank and self.agent != agent)

    def ended_since(self, held: Task, ends: Collection[str]) -> Step | None:
        """Return the first of these moves that came after an earlier record of this task, if one did."""
        since = self.version - held.version
        return next((step for step in (self.steps[-since:] if since > 0 else ()) if step.what in ends), None)

    def step_to(self, rank: str) -> Step | None:
        """Return the step that made the record of this rank, if it is kept still: each move is one step."""
        version = rank.rpartition(".")[2]
        back = self.version - int(version) if version.isdecimal() else -1
        return self.steps[-1 - back] if 0 <= back < len(self.steps) else None

    def _message(self, what: str) -> MessageId:
        digest = hashlib.sha256(f"nova-torch task {self.id} {what}".encode()).digest()
        return MessageId(new_ulid(self.created_ms, digest[:10]))

    # -- moves --

    def assigned(self, agent: str, node: str, life: str, *, now_ms: int, by: str = "", why: str = "") -> Task:
        """Give it to an agent. Raises Conflict when it does not wait."""
        if self.status is not Status.QUEUED:
            raise Conflict(f"task {self.id} is {self._told}.", f"See: novactl task show {self.id}")
        return self._moved(
            "claimed" if by == agent else "assigned", now_ms, who=agent, reason=why,
            status=Status.ASSIGNED, agent=agent, node=node, life=life, attempt=self.attempt + 1,
            since_ms=now_ms, note="", progress=None, claimed=by == agent,
        )  # fmt: skip

    def released(
        self, reason: str, *, now_ms: int, final: bool = False, what: str = "released", by: str = ""
    ) -> Task:
        """Take it back from its agent: it waits again, or has failed when it was given often enough.

        `by` is who says so, if it is not the agent, or its end.
        """
        self._held()
        who = by or self.agent
        if final or self.attempt > self.retries:
            times = f" (given {self.attempt} times)" if self.attempt > 1 else ""
            return self._moved(
                "failed" if what == "released" else what, now_ms, who=who, reason=f"{reason}{times}",
                status=Status.FAILED, since_ms=now_ms, result=reason,
            )  # fmt: skip
        return self._moved(
            what, now_ms, who=who, reason=reason, **_nobody(), status=Status.QUEUED, since_ms=now_ms
        )

    def done(self, result: str, artifacts: tuple[str, ...], *, now_ms: int, by: str) -> Task:
        """End it well. Raises Conflict when nobody has it."""
        self._held()
        return self._moved(
            "done", now_ms, who=by, status=Status.DONE, since_ms=now_ms, result=result, artifacts=artifacts,
            progress=100,
        )  # fmt: skip

    def reminded(self, reason: str, *, now_ms: int) -> Task:
        """Note that its agent was reminded of it. Raises Conflict when nobody has it."""
        self._held()
        return self._moved("reminded", now_ms, who=self.agent, reason=reason)

    def cancelled(self, *, now_ms: int, by: str, reason: str = "") -> Task:
        """End it without a result. Raises Conflict when it is over already."""
        if self.over:
            raise Conflict(f"task {self.id} is {self._told}.", "Nothing was changed.")
        return self._moved(
            "cancelled", now_ms, who=by, reason=reason, status=Status.CANCELLED, since_ms=now_ms
        )

    def reassigned(self, to: str, *, now_ms: int, by: str) -> Task:
        """Let it wait again (for one agent), with all its retries; one that is over is opened again."""
        if self.status is Status.DONE:
            raise Conflict(f"task {self.id} is done.", "Add it anew: novactl task add")
        return self._moved(
            "reassigned", now_ms, who=by, reason=f"for {to}" if to else "", **_nobody(),
            status=Status.QUEUED, since_ms=now_ms, wanted=to, turn=self.turn + int(self.over), attempt=0,
            result="",
        )  # fmt: skip

    def edited(self, *, now_ms: int, by: str, **changes: Any) -> Task:
        """Change what is asked for, or what its agent says of it. Raises Conflict when it is over."""
        if self.over:
            again = "Add it anew: novactl task add"
            cure = again if self.status is Status.DONE else f"Open it: novactl task reassign {self.id}"
            raise Conflict(f"task {self.id} is {self._told}.", cure)
        said = ", ".join(sorted(name.replace("_", "-") for name in changes))
        return self._moved("updated", now_ms, who=by, reason=said, **changes)

    def _held(self) -> None:
        if self.status is not Status.ASSIGNED:
            raise Conflict(f"task {self.id} is {self._told}.", f"See: novactl task show {self.id}")

    @property
    def _told(self) -> str:
        if self.status is Status.QUEUED:
            return "nobody's"
        return self.status.value + (f" ({self.agent} has it)" if self.status is Status.ASSIGNED else "")

    def _moved(self, what: str, now_ms: int, *, who: str = "", reason: str = "", **changes: Any) -> Task:
        step = Step(at_ms=now_ms, what=what, who=who, reason=reason)
        return replace(self, version=self.version + 1, steps=(*self.steps, step)[-STEPS:], **changes)


def _nobody() -> dict[str, Any]:
    return {"agent": "", "node": "", "life": "", "note": "", "progress": None, "claimed": False}


def new_task(task: Task) -> Task:
    """Return a task that is about to be added, with its first step."""
    return replace(task, steps=(Step(at_ms=task.created_ms, what="added", who=task.creator),))


def carried(task: Task) -> str:
    """Return what its agent is told: the work, and how to end it."""
    lines = [f"Task {task.id}: {task.title}"]
    if task.body:
        lines += ["", task.body]
    lines.append("")
    if task.attempt > 1:
        times = "once" if task.attempt == 2 else f"{task.attempt - 1} times"
        lines.append(f"(It was given {times} before and not ended.)")
    if task.deadline_s is not None:
        lines.append(f"You have {spoken(task.deadline_s)} for it.")
    lines.append(f'When it is done: novactl task done {task.id} --result "..."')
    lines.append(f'If you cannot do it: novactl task fail {task.id} --reason "..."')
    return "\n".join(lines)


def recalled(task: Task) -> str:
    """Return what an agent is told that has ended its turn and not its task."""
    return "\n".join(
        [
            f"Task {task.id} ({task.title}) is still yours, and your turn has ended.",
            f'If it is done: novactl task done {task.id} --result "..."',
            f'If you cannot do it: novactl task fail {task.id} --reason "..."',
            "If you are waiting for something, go on waiting: you are not reminded again.",
        ]
    )


def taken_back(task: Task, what: str) -> str:
    """Return what an agent is told that has a task no longer, by the last move of this kind."""
    move = next((step for step in reversed(task.steps) if step.what == what), None)
    told = {"cancelled": "it was cancelled", "reassigned": "it is given anew", "done": "it was called done"}
    how = told.get(what, "")
    reason = ": ".join(filter(None, (how, move.reason if move else ""))) or "another has it"
    return f"Task {task.id} ({task.title}) is not yours any more: {reason}. Stop working on it."


def pack(task: Task, signature: str = "") -> bytes:
    """Return a task as it lies in the broker."""
    return bytes(msgpack.packb({**fields(task), **({"sig": signature} if signature else {})}))


def fields(task: Task) -> dict[str, Any]:
    """Return everything of a task, as plain values."""
    return {"schema": SCHEMA, **asdict(task)}


def unpack(raw: bytes) -> tuple[Task, str]:
    """Read what `pack` wrote, wherever it comes from; the signature too. Raises InvalidRequest."""
    try:
        data = msgpack.unpackb(raw, use_list=False)
        if not isinstance(data, Mapping) or int(data["schema"]) > SCHEMA:
            raise ValueError("its schema is newer than this node")  # noqa: TRY301 - one sentence for all of them
        signature = data.get("sig", "")
        given = {name: data[name] for name in Task.__slots__ if name in data}
        task = Task(
            **{
                **given,
                "priority": Priority(data["priority"]),
                "status": Status(data["status"]),
                "skills": _texts(data["skills"]),
                "depends_on": _texts(data["depends_on"]),
                "artifacts": _texts(data["artifacts"]),
                "steps": tuple(
                    Step(**{name: step[name] for name in Step.__slots__}) for step in data["steps"]
                ),
            }
        )
        _check(task)
    except (ValueError, KeyError, TypeError, AttributeError, msgpack.UnpackException) as error:
        raise InvalidRequest(f"a task cannot be read: {error}.", "Upgrade this node.") from None
    return task, signature if isinstance(signature, str) else ""


def _check(task: Task) -> None:
    texts = (task.title, task.body, task.role, task.creator, task.origin, task.answers, task.agent, task.node)
    numbers = (task.created_ms, task.version, task.turn, task.attempt, task.since_ms, task.retries)
    right = (
        is_ulid(task.id)
        and all(isinstance(text, str) for text in (*texts, task.life, task.wanted, task.note, task.result))
        and all(isinstance(number, int) and 0 <= number < 10**15 for number in numbers)
        and (not task.agent or AGENT_ID.match(task.agent) is not None)
        and (task.deadline_s is None or isinstance(task.deadline_s, (int, float)))
        and (task.progress is None or isinstance(task.progress, int))
        and isinstance(task.claimed, bool)
        and bool(task.agent) >= (task.status is Status.ASSIGNED)
    )
    if not right:
        raise ValueError("a field is wrong")


def _texts(values: object) -> tuple[str, ...]:
    if not isinstance(values, tuple) or not all(isinstance(value, str) for value in values):
        raise TypeError("no list of texts")
    return values
