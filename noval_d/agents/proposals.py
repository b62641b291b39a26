"""Propose ids and roles for panes that run agents, by the names of their sessions and windows. Pure.

For who comes from the Tmux Orchestrator, whose agents are known by session and window alone: `shop:Project-Manager`
becomes the agent `shop-Project-Manager` with the role `project-manager`. Its convention `TEMP-*` marks windows that
do not last. A rule of the configuration that fits a pane goes before all this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from nova_torch.adopt import AdoptRule
from noval_d.agents.adoption import Adopt, Candidate, Leave, decide, owned, rule_for
from noval_d.agents.driver import Driver
from noval_d.agents.recognition import claimants, is_shell
from noval_d.tmux.panes import PaneFacts

TEMPORARY = "temporary"
"""The skill of agents whose windows are called TEMP-something: `novactl agents --skill temporary`."""
OTHERWISE = "agent"
LONGEST = 64
_ROLES = {
    "orchestrator": ("orchestrator", "orc", "orch"),
    "project-manager": ("pm", "manager"),
    "developer": ("developer", "dev", "engineer", "coder", "programmer"),
    "qa": ("qa", "tester", "testing"),
    "reviewer": ("reviewer", "review"),
    "devops": ("devops", "ops"),
    "researcher": ("researcher", "research"),
    "writer": ("writer", "documentation"),
}
_ROLE_OF = {word: role for role, words in _ROLES.items() for word in words}
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def propose(
    candidates: Iterable[Candidate],
    rules: Sequence[AdoptRule],
    drivers: Mapping[str, Driver],
    *,
    node: str,
    agents: Mapping[str, str],
    elsewhere: frozenset[str] = frozenset(),
) -> list[Adopt | Leave]:
    """Return what could become of each pane, in their order; the arguments are those of `adoption.plan`."""
    taken = {*elsewhere, *(name for name, pane in agents.items() if pane)}
    known = {*elsewhere, *agents}
    found: list[Adopt | Leave] = []
    for candidate in candidates:
        decided: Adopt | Leave | None = owned(candidate, node, agents)
        if decided is None:
            rule = rule_for(candidate, rules) or _by_names(candidate, drivers, taken)
            decided = decide(candidate, rule, drivers, taken, known)
        if isinstance(decided, Adopt):
            taken.add(decided.agent_id)
            known.add(decided.agent_id)
        found.append(decided)
    return found


def register_command(
    candidate: Candidate, drivers: Mapping[str, Driver], taken: Iterable[str], *, line_buffered: bool
) -> str:
    """Return the command that makes a pane an agent, its name proposed as above."""
    rule = _by_names(candidate, drivers, set(taken))
    pane = candidate.pane
    command = f"novactl register {rule.id} --pane {pane.pane_id}"
    if len(claimants(drivers.values(), pane.command, candidate.argv)) == 1:
        return command
    return f"{command} --driver {'line' if line_buffered or is_shell(pane.command) else 'generic'}"


def is_temporary(window: str) -> bool:
    """Tell whether a window's name says that it does not last."""
    return window.upper().startswith("TEMP-")


def role_of(pane: PaneFacts) -> str:
    """Return the role that the window's name says; the window 0 of an orchestrator's session is its own."""
    orchestrators = pane.window_index == 0 and _role(pane.session) == "orchestrator"
    return _role(pane.window_name) or ("orchestrator" if orchestrators else OTHERWISE)


def _by_names(candidate: Candidate, drivers: Mapping[str, Driver], taken: set[str]) -> AdoptRule:
    pane = candidate.pane
    skills = (TEMPORARY,) if is_temporary(pane.window_name) else ()
    names = [name for name in map(_fitting, (pane.session, pane.window_name)) if name]
    base = "-".join(names) or next(iter(claimants(drivers.values(), pane.command, candidate.argv)), OTHERWISE)
    return AdoptRule(id=_free(base, taken), role=role_of(pane), skills=skills)


def _fitting(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-_.")


def _free(base: str, taken: set[str]) -> str:
    number = 1
    while True:
        suffix = f"-{number}" if number > 1 else ""
        name = base[: LONGEST - len(suffix)].rstrip("-_.") + suffix
        if name not in taken:
            return name
        number += 1


def _role(name: str) -> str:
    for word in re.split(r"[^A-Za-z0-9]+", name):
        for part in (word, *_PARTS.findall(word)):
            if part.lower() in _ROLE_OF:
                return _ROLE_OF[part.lower()]
    return ""
