"""Decide which panes become agents, by the rules of the configuration, and why the others do not. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nova_torch.adopt import AdoptRule
from nova_torch.values import AGENT_ID
from noval_d.agents.driver import Driver
from noval_d.agents.recognition import claimants, claims, described, may_be_a_shell
from noval_d.tmux.panes import PaneFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A pane and the command line of what leads its foreground."""

    pane: PaneFacts
    argv: tuple[str, ...] = ()

    @property
    def program(self) -> str:
        """What it runs, for people."""
        return described(self.pane.command, self.argv)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopt:
    """This pane becomes the agent `agent_id`."""

    candidate: Candidate
    agent_id: str
    driver: str
    role: str
    skills: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """This pane stays as it is; `reason` is for people. `agent_id` is the agent that it is already, if any."""

    candidate: Candidate
    reason: str
    agent_id: str = ""


def plan(
    candidates: Iterable[Candidate],
    rules: Sequence[AdoptRule],
    drivers: Mapping[str, Driver],
    *,
    node: str,
    agents: Mapping[str, str],
    elsewhere: frozenset[str] = frozenset(),
) -> list[Adopt | Leave]:
    """Return what becomes of each pane, in their order.

    `agents` are this node's agents with their panes ("" for one that lost its pane, whose name may be given
    again), `elsewhere` the names of other nodes' agents.
    """
    taken = {*elsewhere, *(name for name, pane in agents.items() if pane)}
    known = {*elsewhere, *agents}
    found: list[Adopt | Leave] = []
    for candidate in candidates:
        decided = owned(candidate, node, agents) or decide(
            candidate, rule_for(candidate, rules), drivers, taken, known
        )
        if isinstance(decided, Adopt):
            taken.add(decided.agent_id)
            known.add(decided.agent_id)
        found.append(decided)
    return found


def owned(candidate: Candidate, node: str, agents: Mapping[str, str]) -> Leave | None:
    """Return why a pane that is an agent's already is left alone; None when it is nobody's."""
    pane = candidate.pane
    if pane.nova_agent and pane.nova_node not in ("", node):
        return _leave(
            candidate, f"it belongs to agent {pane.nova_agent} of node {pane.nova_node}", pane.nova_agent
        )
    holder = next((name for name, held in agents.items() if held == pane.pane_id), "")
    if holder:
        return _leave(candidate, f"it is agent {holder} already", holder)
    return None


def rule_for(candidate: Candidate, rules: Sequence[AdoptRule]) -> AdoptRule | None:
    """Return the first rule that fits a pane."""
    pane = candidate.pane
    programs = (pane.command, candidate.program)
    return next(
        (r for r in rules if r.matches(session=pane.session, window=pane.window_name, programs=programs)),
        None,
    )


def decide(
    candidate: Candidate,
    rule: AdoptRule | None,
    drivers: Mapping[str, Driver],
    taken: set[str],
    known: set[str],
) -> Adopt | Leave:
    """Return what becomes of a pane that is nobody's, by the rule that fits it."""
    pane = candidate.pane
    if pane.dead:
        return _leave(candidate, "its program has ended")
    if "#" in pane.command:
        return _leave(candidate, "tmux reads its program's name as a format")
    if rule is None:
        return _leave(candidate, "no rule matches")
    driver = _driver(candidate, rule, drivers)
    if isinstance(driver, Leave):
        return driver
    name = _name(rule, pane, driver, taken, known)
    if not AGENT_ID.match(name):
        return _leave(candidate, f"its rule gives it the name {name!r}, which no agent can have")
    if name in taken:
        return _leave(candidate, f"the name {name} is taken")
    return Adopt(candidate=candidate, agent_id=name, driver=driver, role=rule.role, skills=rule.skills)


def _driver(candidate: Candidate, rule: AdoptRule, drivers: Mapping[str, Driver]) -> str | Leave:
    pane = candidate.pane
    if not rule.driver:
        found = claimants(drivers.values(), pane.command, candidate.argv)
        if len(found) == 1:
            return found[0]
        why = f"the drivers {' and '.join(found)} claim" if found else "no driver claims"
        return _leave(candidate, f"{why} {candidate.program}")
    driver = drivers.get(rule.driver)
    if driver is None:
        return _leave(candidate, f"its rule names the driver {rule.driver}, and there is none")
    if driver.commands and not claims(driver, pane.command, candidate.argv):
        return _leave(candidate, f"it runs {candidate.program}, not {driver.name}")
    if driver.kind != "line" and may_be_a_shell(pane.command):
        return _leave(candidate, f"it runs {candidate.program}, and {driver.name} never types into a shell")
    return driver.name


def _name(rule: AdoptRule, pane: PaneFacts, driver: str, taken: set[str], known: set[str]) -> str:
    places = {
        "command": pane.command,
        "driver": driver,
        "role": rule.role,
        "session": pane.session,
        "window": pane.window_name,
    }
    number = 1
    while True:
        name = rule.name({**places, "n": str(number)})
        # a number is given once: the agent that had it and lost its pane may come back
        if "{n}" not in rule.id or name not in known or number > len(known) + 1:
            return name
        number += 1


def _leave(candidate: Candidate, reason: str, agent_id: str = "") -> Leave:
    return Leave(candidate=candidate, reason=reason, agent_id=agent_id)
