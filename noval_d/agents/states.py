"""Decide what state an agent is in, and who says so. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from nova_torch.values import AgentState
from noval_d.agents.sight import Sight

COMPACTS = "it compacts its conversation"
MIXED = "your text and a message stand in its input box together: take yours away, or send both"


class Source(StrEnum):
    """Who told of a state."""

    HOOK = "hook"
    API = "api"
    SCREEN = "screen"
    PROCESS = "process"
    TMUX = "tmux"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """Everything that is known of an agent at one moment."""

    pane: bool
    """tmux has its pane."""
    dead: bool = False
    present: bool = True
    """The agent itself is in front, not the shell that it left."""
    behind: bool = False
    """It is the pane's own shell, and a command that it runs is in front."""
    command: str = ""
    launching: bool = False
    """This node starts it: what is in front of its pane is not yet the agent."""
    paused: bool = False
    line: bool = False
    """A program that reads lines: its screen is not looked at."""
    ready: bool = True
    working: bool = False
    """A hook told of a prompt, and none of its end."""
    asking: bool = False
    """A hook announced a permission dialog that has not been seen to be over."""
    asked: str = ""
    """What is asked there, where that was told."""
    limit: str = ""
    """What was told of a usage limit that is reached."""
    teller: Source = Source.HOOK
    """Who tells what the agent does: its hooks, or its API."""
    compacting: bool = False
    """A hook announced that it compacts its conversation."""
    typing: bool = False
    """What stands in its input box was typed by this node, just now."""
    mixed: bool = False
    """Something that somebody else typed stands there together with it."""
    sight: Sight | None = None
    """The last look, unless a hook has told something newer since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A state, who says so, and more about it for people.

    `shown` is what the pane shows of it: only for those who may write.
    """

    state: AgentState
    source: Source
    detail: str = ""
    shown: str = ""
    limit: str = ""
    """What the agent says of a usage limit that is reached, as the pane shows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One change of an agent's state."""

    before: AgentState
    now: Standing


def stand(signs: Signs) -> Standing:
    """Return the state that the signs add up to. Who is nearer to the fact comes first."""
    return _without_agent(signs) or _waiting(signs) or _working(signs)


def _without_agent(signs: Signs) -> Standing | None:
    if signs.launching and (signs.line or signs.dead or not (signs.pane and signs.present)):
        detail = "it is being started"
        return Standing(state=AgentState.STARTING, source=Source.OPERATOR, detail=detail)
    if not signs.pane:
        return Standing(state=AgentState.LOST, source=Source.TMUX, detail="its pane is gone")
    if signs.dead:
        detail = "the program in its pane has ended"
        return Standing(state=AgentState.EXITED, source=Source.TMUX, detail=detail)
    if not signs.present and not signs.behind:
        detail = f"its pane runs {signs.command or 'something else'}, not the agent"
        return Standing(state=AgentState.EXITED, source=Source.PROCESS, detail=detail)
    return None


def _waiting(signs: Signs) -> Standing | None:
    """Return the states in which the agent goes on only when somebody acts."""
    sight = signs.sight
    if signs.paused:
        return Standing(state=AgentState.PAUSED, source=Source.OPERATOR, detail="paused by its operator")
    if sight is not None and sight.dialog is not None:
        return Standing(
            state=AgentState.DIALOG,
            source=Source.SCREEN,
            detail="a dialog is open",
            shown=sight.dialog,
            limit=sight.limit,
        )
    if signs.asking:
        return Standing(
            state=AgentState.DIALOG,
            source=signs.teller,
            detail="it asks for a permission",
            shown=signs.asked,
            limit=signs.limit,
        )
    return None


def _working(signs: Signs) -> Standing:
    if signs.behind:
        return Standing(state=AgentState.BUSY, source=Source.PROCESS, detail=f"it runs {signs.command}")
    if signs.line:
        return Standing(state=AgentState.IDLE, source=Source.PROCESS)
    sight = signs.sight
    if not signs.ready:
        return Standing(state=AgentState.STARTING, source=Source.SCREEN)
    if signs.mixed and sight is not None and sight.composer:
        return Standing(
            state=AgentState.DRAFT,
            source=Source.SCREEN,
            detail=MIXED,
            shown=repr(sight.composer[:60]),
            limit=sight.limit,
        )
    if signs.compacting or (sight is not None and sight.compacting):
        source = signs.teller if signs.compacting else Source.SCREEN
        return Standing(state=AgentState.BUSY, source=source, detail=COMPACTS)
    if signs.working or (sight is not None and sight.busy):
        source = signs.teller if signs.working else Source.SCREEN
        limit = signs.limit or (sight.limit if sight is not None else "")
        detail = "it waits for the end of its usage limit" if limit else ""
        return Standing(state=AgentState.BUSY, source=source, detail=detail, shown=limit, limit=limit)
    if sight is not None and sight.composer and not signs.typing:
        return Standing(
            state=AgentState.DRAFT,
            source=Source.SCREEN,
            detail="a half-typed line is in its input box",
            shown=repr(sight.composer[:60]),
            limit=sight.limit,
        )
    source = signs.teller if sight is None else Source.SCREEN
    limit = signs.limit or (sight.limit if sight is not None else "")
    if limit:
        source = signs.teller if signs.limit else Source.SCREEN
        detail = "its usage limit is reached"
        return Standing(state=AgentState.IDLE, source=source, detail=detail, shown=limit, limit=limit)
    return Standing(state=AgentState.IDLE, source=source)
