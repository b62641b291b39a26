"""The values that travel: messages, receipts, agents. Frozen, with no behaviour beyond their own fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from nova_torch import words
from nova_torch.performance import NOTHING_YET, Performance
from nova_torch.rows import Row

AgentId = words.AgentId
NodeId = words.NodeId
MessageId = words.MessageId
PaneId = words.PaneId

AGENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")

SCHEMA = 1


class State(StrEnum):
    """Where a message is on its road; ARCHITECTURE, section 2."""

    ACCEPTED = "accepted"
    QUEUED = "queued"
    HELD = "held"
    TYPED = "typed"
    SUBMITTED = "submitted"
    ACKNOWLEDGED = "acknowledged"
    REPLIED = "replied"
    UNCONFIRMED = "unconfirmed"
    FAILED = "failed"
    EXPIRED = "expired"
    DEAD = "dead"


DELIVERED = frozenset(map(State, words.PROVEN))
UNDELIVERED = frozenset(map(State, words.UNDELIVERED))


class HoldReason(StrEnum):
    """Why the owner of an agent has a message and does not type it yet."""

    BUSY = "busy"
    DIALOG = "dialog"
    DRAFT = "draft"
    COPY_MODE = "copy_mode"
    STARTING = "starting"
    PAUSED = "paused"
    INPUT_OFF = "input_off"
    NOT_READING = "not_reading"
    NO_AGENT = "no_agent"
    RATE_LIMITED = "rate_limited"
    NODE_LOST = "node_lost"


class Priority(StrEnum):
    """How soon a message should be typed; urgent and high share a lane of their own."""

    URGENT = "urgent"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 for urgent to 3 for low."""
        return _RANKS[self]


_RANKS = {priority: rank for rank, priority in enumerate(Priority)}


class Kind(StrEnum):
    """What a message is for."""

    MESSAGE = "message"
    TASK = "task"
    REPLY = "reply"
    EVENT = "event"
    CONTROL = "control"


class Form(StrEnum):
    """How a body is dressed for the composer: by the driver, not at all, or as an agent's command.

    `verbatim` is a command where the driver knows commands, and raw where it does not.
    """

    AUTO = "auto"
    RAW = "raw"
    COMMAND = "command"
    VERBATIM = "verbatim"


class AgentState(StrEnum):
    """What an agent is doing, as far as its hooks and its screen tell."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    DIALOG = "dialog"
    DRAFT = "draft"
    PAUSED = "paused"
    EXITED = "exited"
    LOST = "lost"


_STATES = {state.value: state for state in AgentState}

NOVA_STATUS = {
    AgentState.STARTING: "initializing",
    AgentState.IDLE: "idle",
    AgentState.BUSY: "busy",
    AgentState.DIALOG: "active",
    AgentState.DRAFT: "active",
    AgentState.PAUSED: "active",
    AgentState.EXITED: "offline",
    AgentState.LOST: "offline",
}
"""The words of the older Nova registries for each state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message. `id` is a ULID given by the sender; times are milliseconds since the epoch."""

    id: MessageId
    sender: str
    target: str
    body: str
    created_ms: int
    priority: Priority = Priority.NORMAL
    kind: Kind = Kind.MESSAGE
    correlation_id: str = ""
    reply_to: str = ""
    expires_ms: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def form(self) -> Form:
        """How the sender wants the body dressed (header `form`)."""
        return Form(self.headers.get("form", Form.AUTO))

    @property
    def wants_answer(self) -> bool:
        """Whether its sender waits for an answer (header `answer`, or a task)."""
        answer = self.headers.get("answer", "")
        return answer == "wanted" or (self.kind is Kind.TASK and answer != "none")

    @property
    def conversation(self) -> str:
        """The conversation it belongs to: that of the message it answers, else one that it begins."""
        return self.correlation_id or self.id

    @property
    def origin(self) -> NodeId:
        """The node whose outbox holds this message (header `origin`)."""
        return NodeId(self.headers.get("origin", ""))

    def __repr__(self) -> str:
        return f"<Message {self.id} {self.sender}->{self.target} {self.priority} {len(self.body)} chars>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One step of a message: which node saw it come into which state, when and why."""

    message: MessageId
    at_ms: int
    node: NodeId
    state: State
    reason: str = ""
    final: bool = False
    of: str = ""
    """Of a rejection (see `rejections.py`): the SHA-256 of the bytes that were rejected. Empty: it is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What is known of a message now. `final` says that no later state is expected."""

    id: MessageId
    target: str
    state: State
    reason: str = ""
    agent: AgentId | None = None
    node: NodeId | None = None
    final: bool = False
    timings_ms: Mapping[str, int] = field(default_factory=dict)

    @property
    def delivered(self) -> bool:
        """True when the delivery is proven: submitted, acknowledged or replied."""
        return self.state in DELIVERED

    def to_json(self) -> dict[str, object]:
        """Return the object of `send --json`."""
        return {
            "id": self.id,
            "target": self.target,
            "state": str(self.state),
            "reason": self.reason,
            "agent": self.agent,
            "node": self.node,
            "final": self.final,
            "timings_ms": dict(self.timings_ms),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Receipt:
        """Make a receipt from the object of `send --json`; unknown fields are ignored."""
        timings = data.get("timings_ms")
        agent, node = data.get("agent"), data.get("node")
        return cls(
            id=MessageId(str(data["id"])),
            target=str(data.get("target", "")),
            state=State(str(data["state"])),
            reason=str(data.get("reason") or ""),
            agent=AgentId(str(agent)) if agent else None,
            node=NodeId(str(node)) if node else None,
            final=bool(data.get("final")),
            timings_ms={str(k): int(v) for k, v in timings.items()} if isinstance(timings, Mapping) else {},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer to a message: `id` is its own, `question` the id of what it answers."""

    id: MessageId
    question: MessageId
    sender: str
    body: str
    created_ms: int

    def to_json(self) -> dict[str, object]:
        """Return the object that the call `answer` gives."""
        return {
            "id": self.id,
            "question": self.question,
            "sender": self.sender,
            "body": self.body,
            "created_ms": self.created_ms,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Reply:
        """Make a reply from the object of `answer`; unknown fields are ignored."""
        return cls(
            id=MessageId(str(data["id"])),
            question=MessageId(str(data["question"])),
            sender=str(data.get("sender", "")),
            body=str(data.get("body", "")),
            created_ms=_integer(data.get("created_ms")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpec:
    """What somebody registered: the agent's name, what it is for, and how it is typed into.

    `program` is the foreground command the pane had at registration; a `line` agent is typed into only while
    that very program is in front (a shell only when it was registered as one).
    """

    agent_id: AgentId
    role: str = ""
    skills: tuple[str, ...] = ()
    driver: str = "claude"
    program: str = ""
    script: str | None = None
    """What the program ran then, if it runs others (`node`, `python3`); None: not known, so not compared."""
    empty: str | None = None
    """The line with the cursor then, for a driver that knows an empty input line only by that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRecord(Row):
    """One row of `novactl agents`: an agent of the fleet as its node last reported it."""

    agent_id: AgentId
    role: str
    skills: tuple[str, ...]
    node: NodeId
    driver: str
    pane: str
    session: str
    window: str
    state: AgentState
    state_since_ms: int
    queued: int
    last_seen_ms: int
    current_task: str = ""
    state_source: str = ""
    """Who told of the state: hook, screen, process, tmux or operator."""
    detail: str = ""
    attention: str = ""
    """What it needs a person for: dialog, limit, draft or exited."""
    performance: Performance = NOTHING_YET
    """What became of its last messages."""
    more: Mapping[str, object] = field(default_factory=dict, hash=False)
    """What a node of a newer version told besides: passed on as it is."""

    @property
    def available(self) -> bool:
        """Whether it could begin something now: it is idle, and nobody has paused it."""
        return self.state is AgentState.IDLE

    @property
    def status(self) -> str:
        """The state in Nova's older words: initializing, idle, busy, active (a person is needed) or offline."""
        return NOVA_STATUS[self.state]

    @property
    def last_heartbeat(self) -> float:
        """When it was last seen, seconds since the epoch (Nova's older name)."""
        return self.last_seen_ms / 1000

    @property
    def session_id(self) -> str:
        """Its tmux session (Nova's older name)."""
        return self.session

    def to_json(self) -> dict[str, object]:
        """Return the object of `agents --json`."""
        return {
            "agent_id": self.agent_id,
            "role": self.role,
            "skills": list(self.skills),
            "node": self.node,
            "driver": self.driver,
            "pane": self.pane,
            "session": self.session,
            "window": self.window,
            "state": str(self.state),
            "state_since_ms": self.state_since_ms,
            "queued": self.queued,
            "last_seen_ms": self.last_seen_ms,
            "current_task": self.current_task,
            "state_source": self.state_source,
            "detail": self.detail,
            "attention": self.attention,
            "performance": self.performance.to_json(),
            **self.more,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> AgentRecord:
        """Make a record from the object of `agents --json`.

        Unknown fields are kept in `more`, and so is a state that only a newer version knows: here it is `busy`.
        """
        return cls(**cls.read(data))

    @staticmethod
    def sought(data: Mapping[str, object]) -> dict[str, Any]:
        """Return what an agent is looked for by. Raises KeyError without `agent_id` or `state`."""
        skills = data.get("skills")
        return {
            "agent_id": str(data["agent_id"]),
            "role": str(data.get("role", "")),
            "skills": tuple(map(str, skills)) if isinstance(skills, (list, tuple)) else (),
            "node": str(data.get("node", "")),
            "state": _STATES.get(str(data["state"]), AgentState.BUSY),
            "queued": _integer(data.get("queued")),
        }

    @classmethod
    def read(cls, data: Mapping[str, object]) -> dict[str, Any]:
        """Return all fields of such an object."""
        more = {name: it for name, it in data.items() if name not in _FIELDS and isinstance(name, str)}
        if (told := str(data["state"])) not in _STATES:
            more["state"] = told
        return {
            **cls.sought(data),
            "driver": str(data.get("driver", "")),
            "pane": str(data.get("pane", "")),
            "session": str(data.get("session", "")),
            "window": str(data.get("window", "")),
            "state_since_ms": _integer(data.get("state_since_ms")),
            "last_seen_ms": _integer(data.get("last_seen_ms")),
            "current_task": str(data.get("current_task", "")),
            "state_source": str(data.get("state_source", "")),
            "detail": str(data.get("detail", "")),
            "attention": str(data.get("attention", "")),
            "performance": Performance.from_json(data.get("performance")),
            "more": more,
        }


_FIELDS = frozenset(AgentRecord.__dataclass_fields__)


def _integer(value: object) -> int:
    return value if isinstance(value, int) else 0
