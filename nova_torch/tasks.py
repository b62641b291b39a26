"""Tasks as programs see them: what is asked for, how far it is, and what happened to it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self


class TaskState(StrEnum):
    """How a task is: `ready` waits for an agent, `waiting` for another task, `blocked` for one that failed."""

    READY = "ready"
    WAITING = "waiting"
    BLOCKED = "blocked"
    ASSIGNED = "assigned"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self in (TaskState.DONE, TaskState.FAILED, TaskState.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """One task. Times are ms since the epoch, 0 where there is none.

    `deadline_s` is how long one agent may have it, `due_ms` when that ends; `wanted` the one agent that it is for;
    `message` the id of the message that tells its agent of it. `body` is there in what `claim` and `show` return.
    """

    id: str
    title: str
    state: TaskState
    reason: str = ""
    role: str = ""
    skills: tuple[str, ...] = ()
    priority: str = "normal"
    agent: str = ""
    node: str = ""
    attempt: int = 0
    retries: int = 0
    deadline_s: float | None = None
    due_ms: int = 0
    progress: int | None = None
    wanted: str = ""
    creator: str = ""
    created_ms: int = 0
    since_ms: int = 0
    message: str = ""
    body: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Make it from the object of the calls `task_…`; unknown fields are ignored."""
        return cls(**_given(data))


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStep:
    """One thing that happened to a task: what, when, by or to whom, and why."""

    at_ms: int
    what: str
    who: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCandidate:
    """An agent that could have the task: the sum of `parts` is its `score`, or `why_not` says why it may not."""

    agent: str
    node: str
    score: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDetail(TaskRecord):
    """One task with all that is known of it. `depends_on` has the id and the state of each."""

    result: str = ""
    artifacts: tuple[str, ...] = ()
    depends_on: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[TaskStep, ...] = ()
    candidates: tuple[TaskCandidate, ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Make it from the object of the call `task_show`; unknown fields are ignored."""
        return cls(
            **_given(data),
            result=str(data.get("result") or ""),
            artifacts=tuple(str(name) for name in data.get("artifacts") or ()),
            depends_on={str(one["id"]): str(one["state"]) for one in data.get("depends_on") or ()},
            steps=tuple(
                TaskStep(
                    at_ms=int(step.get("at_ms") or 0),
                    what=str(step.get("what") or ""),
                    who=str(step.get("who") or ""),
                    reason=str(step.get("reason") or ""),
                )
                for step in data.get("steps") or ()
            ),
            candidates=tuple(
                TaskCandidate(
                    agent=str(one.get("agent") or ""),
                    node=str(one.get("node") or ""),
                    score=_number(one.get("score")),
                    parts={str(name): float(value) for name, value in (one.get("parts") or {}).items()},
                    why_not=str(one.get("why_not") or ""),
                )
                for one in data.get("candidates") or ()
            ),
        )


_TEXTS = (
    "id", "title", "reason", "role", "priority", "agent", "node", "wanted", "creator", "message", "body",
)  # fmt: skip
_NUMBERS = ("attempt", "retries", "due_ms", "created_ms", "since_ms")


def _given(data: Mapping[str, Any]) -> dict[str, Any]:
    progress = data.get("progress")
    return {
        **{name: str(data.get(name) or "") for name in _TEXTS},
        **{name: int(data.get(name) or 0) for name in _NUMBERS},
        "state": TaskState(str(data["state"])),
        "skills": tuple(str(skill) for skill in data.get("skills") or ()),
        "deadline_s": _number(data.get("deadline_s")),
        "progress": progress if isinstance(progress, int) else None,
    }


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
