"""Decide what is to be started from what was asked for, the templates and the drivers. No I/O."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from nova_torch.errors import DriverInvalid, InvalidRequest, NotFound
from nova_torch.nearest import MISTYPED, nearest, suggestion
from nova_torch.templates import ENV_NAME, RESTARTS, Template
from nova_torch.values import AgentId, AgentSpec
from noval_d.agents.driver import Driver
from noval_d.agents.recognition import is_interpreter
from noval_d.life.plan import Plan
from noval_d.life.policy import Restart

ROLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,54}\Z")
NONE_BROKEN: Mapping[str, DriverInvalid] = {}
SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")  # tmux changes dots and colons; `_` begins our own
SESSION_NAME = "nova"
FIRST = ("claude", "codex", "gemini", "opencode", "aider")
"""The order in which a mere role looks for a driver whose agent is installed; drivers of one's own come behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody asked for. What is empty is left to the template, then to the driver."""

    name: str
    """A template, else a role; called like a driver it is that one's agent, else the first that is installed."""
    agent_id: str = ""
    skills: tuple[str, ...] = ()
    driver: str = ""
    command: tuple[str, ...] = ()
    cwd: str = ""
    here: str = ""
    """Where the caller is: used when nobody names a directory."""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    prompt: str = field(default="", repr=False)
    session: str = ""
    restart: str = ""
    allow: tuple[str, ...] = ()
    owner: str = ""


def settled(
    wish: Wish,
    templates: Mapping[str, Template],
    drivers: Mapping[str, Driver],
    *,
    broken: Mapping[str, DriverInvalid] = NONE_BROKEN,
    mark: str,
    home: str,
) -> tuple[AgentSpec, Plan]:
    """Return the agent and the plan that `wish` means.

    `broken` says of drivers whose file cannot be used why; `mark` makes its name unique when it is given none.
    Raises InvalidRequest, DriverInvalid and NotFound, one sentence each.
    """
    template = templates.get(wish.name, Template())
    role = template.role or wish.name
    if not ROLE.match(role):
        raise InvalidRequest(f"{role!r} is no role.", "Use letters, digits, '_', '.', '-', 55 at most.")
    command = wish.command or template.command
    refuse_broken(wish.driver or template.driver or ("" if command else wish.name), broken)
    driver = _driver(wish, template, command, templates, drivers)
    if not command and not driver.start.command:
        raise InvalidRequest(f"the driver {driver.name} names no command.", "Say what to start: -- COMMAND")
    spec = AgentSpec(
        agent_id=AgentId(wish.agent_id or f"{role}-{mark}"),
        role=role,
        skills=wish.skills or template.skills,
        driver=driver.name,
        program=os.path.basename((command or driver.start.command)[0]),
    )
    plan = Plan(
        command=command,
        cwd=_directory(wish, template, home),
        env=_environment({**template.env, **wish.env}),
        session=_session(wish.session or template.session or SESSION_NAME),
        prompt=_text("the prompt", wish.prompt or template.prompt),
        restart=_restart(wish.restart or template.restart or "never"),
        allow=_allowed(tuple(dict.fromkeys((*template.allow, *wish.allow))), driver),
        owner=wish.owner,
    )
    for word in command:
        _text("the command", word)
    return spec, plan


def only_a_role(
    wish: Wish,
    templates: Mapping[str, Template],
    drivers: Mapping[str, Driver],
    *,
    broken: Mapping[str, DriverInvalid] = NONE_BROKEN,
) -> bool:
    """Tell whether a wish leaves open which agent it means: a role, and no mistyped template or driver either."""
    known = {*templates, *drivers, *broken}
    named = wish.driver or wish.command or wish.name in known
    return not named and nearest(wish.name, known, cutoff=MISTYPED) is None


def own_commands(drivers: Mapping[str, Driver]) -> dict[str, str]:
    """Return the program that each driver starts by itself, in the order in which a mere role looks for one."""
    names = sorted(drivers, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))
    return {name: drivers[name].start.command[0] for name in names if drivers[name].start.command}


def refuse_broken(name: str, broken: Mapping[str, DriverInvalid]) -> None:
    """Raise DriverInvalid, with what is wrong with its file, for a driver that is there and cannot be used."""
    error = broken.get(name)
    if error is not None:
        raise DriverInvalid(error.message, error.hint)


def argv_of(plan: Plan, driver: Driver) -> tuple[str, ...]:
    """Return the command that the plan starts, without prompt and session."""
    return plan.command or driver.start.command


def _driver(
    wish: Wish,
    template: Template,
    command: tuple[str, ...],
    templates: Mapping[str, Template],
    drivers: Mapping[str, Driver],
) -> Driver:
    named = wish.driver or template.driver
    if named:
        return drivers[_known("driver", named, drivers)]
    if command:
        program = os.path.basename(command[0])
        found = [driver for driver in drivers.values() if _starts(driver, program)]
        if len(found) == 1:
            return found[0]
    elif wish.name in drivers:
        return drivers[wish.name]
    elif wish.name not in templates:
        near = nearest(wish.name, [*templates, *drivers], cutoff=MISTYPED)
        if near is not None:
            cure = f"Did you mean {near}? If not, name a driver: --driver DRIVER"
            raise NotFound(f"there is no template {wish.name!r} in the configuration.", cure)
        raise NotFound(
            f"there is no template {wish.name!r} in the configuration, and on the agent's PATH is none of "
            f"{', '.join(own_commands(drivers).values())}.",
            "Install one, or say what to start: its command, and --driver DRIVER if it is another program.",
        )
    raise InvalidRequest(
        f"no driver is named for {wish.name!r}, and none claims {command[0] if command else 'nothing'!r}.",
        f"Say how it is typed into: --driver {'|'.join(sorted(drivers))}",
    )


def _starts(driver: Driver, program: str) -> bool:
    """Tell whether this driver's agent is started by a command of this name."""
    own = driver.start.command[:1]
    named = program in driver.commands and not is_interpreter(program)
    return named or (bool(own) and os.path.basename(own[0]) == program)


def _known(what: str, name: str, known: Collection[str]) -> str:
    if name not in known:
        otherwise = f"Known: {', '.join(sorted(known))}." if known else "It has none."
        raise NotFound(f"there is no {what} {name!r}.", suggestion(name, known, otherwise=otherwise))
    return name


def _directory(wish: Wish, template: Template, home: str) -> str:
    given = wish.cwd or template.cwd
    if given == "~" or given.startswith("~/"):
        given = home + given[1:]
    directory = _text("the working directory", given or wish.here or home)
    if not os.path.isabs(directory):
        raise InvalidRequest(f"the working directory {directory!r} is relative.", "Name it from / or ~ on.")
    return os.path.normpath(directory)


def _environment(env: Mapping[str, str]) -> Mapping[str, str]:
    for name, value in env.items():
        if not ENV_NAME.match(name):
            raise InvalidRequest(f"{name!r} is no name of a variable.", "Use letters, digits and '_'.")
        _text(f"the variable {name}", value)
    return env


def _session(name: str) -> str:
    if not SESSION.match(name):
        raise InvalidRequest(
            f"{name!r} is not a name for a tmux session.",
            "Use letters, digits, '_' and '-', 64 at most, and begin with a letter or a digit.",
        )
    return name


def _restart(name: str) -> Restart:
    if name not in RESTARTS:
        cure = suggestion(name, RESTARTS, otherwise=f"One of {', '.join(RESTARTS)}.")
        raise InvalidRequest(f"there is no restart policy {name!r}.", cure)
    return Restart(name)


def _allowed(names: tuple[str, ...], driver: Driver) -> tuple[str, ...]:
    known = [dialog.name for dialog in driver.start.dialogs]
    return tuple(_known(f"dialog of the driver {driver.name} named", name, known) for name in names)


def _text(what: str, text: str) -> str:
    """Return a text that the kernel takes as a word."""
    if "\0" in text:
        raise InvalidRequest(f"{what} holds a NUL.", "Leave it out.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(f"{what} is not UTF-8.", "Write it in UTF-8.") from None
    return text
