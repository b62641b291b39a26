"""What a spawned agent is started from, and how far it is with that. Values, and how they are written down."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from nova_torch.values import AgentId
from noval_d.life.policy import Restart


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that is needed to start the agent, once more too. Values of `env` are secrets: never show them."""

    command: tuple[str, ...]
    cwd: str
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    session: str = "nova"
    """The tmux session of its window."""
    prompt: str = field(default="", repr=False)
    restart: Restart = Restart.NEVER
    allow: tuple[str, ...] = ()
    owner: str = ""
    """Who ordered it: the sender of its first prompt."""
    ask: str = ""
    """Under which id another node asked for it."""


class Phase(StrEnum):
    """How far an agent's life is; what a daemon that has just started goes on with."""

    STARTING = "starting"
    """Decided, durably: the program has the go-ahead of this start's token or will never run under it."""
    LAUNCHED = "launched"
    READY = "ready"
    WAITING = "waiting"
    """It ended and is started again at `due_ms`."""
    EXITED = "exited"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One agent's life, as the state file has it."""

    agent: AgentId
    plan: Plan
    phase: Phase = Phase.STARTING
    token: str = ""
    """Names one start: in the pane's option, and in the file that gives the go-ahead."""
    pane: str = ""
    session: str = ""
    """The agent's own conversation, as its hooks named it; resumed by the next start."""
    resumed: bool = False
    """The present start resumes a conversation."""
    prompt_id: str = ""
    """The message that carries its first prompt, where no command line does."""
    prompt_of: str = ""
    """The start whose prompt that is."""
    tries_ms: tuple[int, ...] = ()
    due_ms: int = 0
    started_ms: int = 0
    starts: int = 0
    gave_up: str = ""
    """Why it is not started again, when its policy wanted that."""
    archive: str = ""
    """Where the stop that is under way puts its pane."""

    def to(self, phase: Phase, **changes: Any) -> Life:
        """Return this life in another phase."""
        return replace(self, phase=phase, **changes)

    def packed(self) -> bytes:
        """Return what the state file keeps."""
        return json.dumps(asdict(self)).encode()


def unpacked(data: bytes | str) -> Life:
    """Return what `packed` wrote. Raises ValueError, TypeError or KeyError when it is not that."""
    values: dict[str, Any] = json.loads(data)
    plan: dict[str, Any] = values.pop("plan")
    plan |= {key: tuple(plan[key]) for key in ("command", "allow")}
    values |= {"tries_ms": tuple(values["tries_ms"]), "phase": Phase(values["phase"])}
    return Life(**values, plan=Plan(**{**plan, "restart": Restart(plan["restart"])}))
