"""What a bridge makes of something foreign: a message to be, a refusal, or nothing. And what it writes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why something foreign is no message; it goes to the dead letters of the bridges."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """Why something foreign is nobody's business here: our own entry, an operation that is not for us."""

    reason: str


Decoded = Draft | Refusal | Ignored


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
