"""What a bridge makes of something foreign: a message to be, a refusal, or nothing. And what it writes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nova_torch.values import Kind, Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A message as a foreign program wrote it. Nothing of it is trusted; `body` is not cleaned yet."""

    body: str
    sender: str = ""
    target: str = ""
    """Whom it names itself; what it came by may say otherwise."""
    correlation: str = ""
    priority: Priority = Priority.NORMAL
    kind: Kind = Kind.MESSAGE
    id: str = ""
    """Its own, if it has one."""
    asks: bool = True
    """Its sender can expect an answer."""
    answers: bool = False
    """It is an answer itself: nobody is told what became of it."""
    task: str = ""
    """The task that it is, or that it is about, of those that may move."""
    takes_back: str = ""
    """The message that it takes back; if that one was never typed, this one is not either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why something foreign is no message; it goes to the dead letters of the bridges."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """Why something foreign is nobody's business here: our own entry, an operation that is not for us."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A foreign program gives a task to another assignee, to nobody (""), or cancels it."""

    task: str
    assignee: str = ""
    cancelled: bool = False
    sender: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A foreign program asks for one task, or for those that match."""

    operation: str
    asked: Mapping[str, Any]
    correlation: str = ""


Decoded = Draft | Refusal | Ignored
Task = Decoded | Change | Query
"""What an entry of central task management may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a bridged message came from and how its answers go back. Kept in the state file."""

    dialect: str
    via: str
    bridge: str
    """The key of the rule that brought it."""
    source: str
    """The stream or channel that it came by."""
    entry: str
    """Its id there, or its own."""
    sender: str
    correlation: str
    replies: str
    """The stream or channel of its answers; empty when nobody can be answered."""
    notify: str = ""
    receipts: str = "final"
    priority: str = Priority.NORMAL.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Outward:
    """One thing to be written to a foreign stream, or published on a channel."""

    via: str
    name: str
    fields: Mapping[str, str] = field(default_factory=dict)
