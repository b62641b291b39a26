"""Decide how a pane is typed into that a script named: as the agent it is, or as whatever runs there. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from noval_d.agents.driver import Driver, stand_in
from noval_d.agents.recognition import claimants, described, is_present, is_shell
from noval_d.agents.spec import fitted, read_spec
from noval_d.tmux.panes import PaneFacts


class Way(Enum):
    """How text and Enter go in."""

    AGENT = auto()
    """By the agent's driver: the composer is watched from before the paste until after Enter."""
    LINE = auto()
    """Text and Enter at once: a shell, a program behind a line-buffered terminal, or one that edits a line."""
    SCREEN = auto()
    """Text, then Enter a little later, unless a dialog is open: a full-screen program that nobody has described."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is known of the program in a pane."""

    way: Way
    driver: Driver
    agent_id: str = ""
    absent: str = ""
    """Why nothing may be typed, although the pane is there: its agent has left it."""
    shell: bool = False


def choose(
    facts: PaneFacts,
    argv: Sequence[str],
    drivers: Mapping[str, Driver],
    *,
    line_buffered: bool,
    edits_line: bool = False,
    registered: bool = True,
) -> Choice:
    """Return how to type into the pane whose foreground is led by the process with `argv`.

    Not `registered`: the agent's name that it may carry is left over. `edits_line`: its screen looks like that.
    """
    if facts.nova_agent and registered:
        return _registered(facts, argv, drivers)
    known = claimants(drivers.values(), facts.command, argv)
    if len(known) == 1:
        return Choice(way=Way.AGENT, driver=drivers[known[0]])
    shell = is_shell(facts.command)
    if shell or line_buffered or edits_line:
        return Choice(way=Way.LINE, driver=drivers["line"], shell=shell)
    return Choice(way=Way.SCREEN, driver=drivers["generic"])


def _registered(facts: PaneFacts, argv: Sequence[str], drivers: Mapping[str, Driver]) -> Choice:
    agent, spec = facts.nova_agent, read_spec(facts.nova_agent, facts.nova_spec)
    if spec is None:
        why = f"the pane belongs to agent {agent}, and how that is typed into cannot be read"
        return Choice(way=Way.AGENT, driver=stand_in("?"), agent_id=agent, absent=why)
    driver = drivers.get(spec.driver)
    if driver is None:
        why = f"the pane belongs to agent {agent}, whose driver {spec.driver} only its daemon has"
        return Choice(way=Way.AGENT, driver=stand_in(spec.driver), agent_id=agent, absent=why)
    absent = ""
    if not is_present(driver, spec, facts.command, argv):
        absent = (
            f"the pane belongs to agent {agent}, which is not in front: {described(facts.command, argv)} is"
        )
    way = Way.LINE if driver.kind == "line" else Way.AGENT
    shell = is_shell(facts.command)
    return Choice(way=way, driver=fitted(driver, spec), agent_id=agent, absent=absent, shell=shell)
