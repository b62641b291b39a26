"""Rules of the configuration that find running agents (`[[adopt]]`): read strictly, match panes. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from string import Formatter
from typing import Any

from nova_torch.errors import ConfigInvalid
from nova_torch.nearest import suggestion

PLACES = ("command", "driver", "n", "role", "session", "window")
_LISTS = ("skills",)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptRule:
    """One `[[adopt]]`: a pane fits when each pattern (`*`, `?`, `[…]`) that is given does; the first rule wins."""

    session: str = ""
    window: str = ""
    command: str = ""
    """Of the program: `claude`, or with its script `node codex`."""
    id: str = "{driver}-{n}"
    """The agent's name; `{n}` is the first number that is free."""
    role: str = ""
    skills: tuple[str, ...] = ()
    driver: str = ""
    """Empty: the one that claims the program."""

    def matches(self, *, session: str, window: str, programs: Sequence[str]) -> bool:
        """Tell whether a pane fits; `programs` are the names of what it runs, any of which may match."""
        return (
            _fits(self.session, session)
            and _fits(self.window, window)
            and (not self.command or any(fnmatchcase(program, self.command) for program in programs))
        )

    def name(self, places: Mapping[str, str]) -> str:
        """Return the agent's name with `places` filled in and what no name can hold made a dash."""
        filled = self.id.format_map(places)
        return re.sub(r"[^A-Za-z0-9_.-]+", "-", filled).strip("-_.")[:64]

    def shown(self) -> dict[str, Any]:
        """Return it for people."""
        return {key.name: getattr(self, key.name) for key in fields(self)}


EVERY_CLAIMED = AdoptRule()
"""What holds without any rule: every pane that runs a program which exactly one driver claims."""


def read_rules(given: Any, source: str) -> tuple[AdoptRule, ...]:
    """Return the rules of a configuration. Raises ConfigInvalid naming the rule, the key and what is right."""
    if not isinstance(given, list) or not all(isinstance(rule, Mapping) for rule in given):
        raise ConfigInvalid(f"adopt in {source} is no list of rules.", "Write [[adopt]] above each.")
    return tuple(_rule(rule, number) for number, rule in enumerate(given, 1))


def _fits(pattern: str, text: str) -> bool:
    return not pattern or fnmatchcase(text, pattern)


def _rule(given: Mapping[str, Any], number: int) -> AdoptRule:
    shown = f"[[adopt]] number {number}"
    known = {key.name for key in fields(AdoptRule)}
    for key, value in given.items():
        if key not in known:
            cure = suggestion(key, known, otherwise=f"Known: {', '.join(sorted(known))}.")
            raise ConfigInvalid(f"unknown key in {shown}: {key}.", cure)
        texts = isinstance(value, list) and all(isinstance(item, str) and item for item in value)
        if not (texts if key in _LISTS else isinstance(value, str)):
            wanted = "a list of texts" if key in _LISTS else "a text"
            raise ConfigInvalid(f"{key} in {shown} is {value!r}.", f"It must be {wanted}.")
    values: dict[str, Any] = {key: tuple(value) if key in _LISTS else value for key, value in given.items()}
    rule = AdoptRule(**values)
    _check_name(rule, shown)
    if rule.driver and not (rule.session or rule.window or rule.command):
        raise ConfigInvalid(
            f"{shown} names a driver and no pane.", "Say which panes: session, window or command."
        )
    return rule


def _check_name(rule: AdoptRule, shown: str) -> None:
    try:
        parts = list(Formatter().parse(rule.id))
    except ValueError as error:
        raise ConfigInvalid(
            f"id in {shown} is {rule.id!r}: {error}.", "Double a brace that is meant."
        ) from None
    for _, place, layout, conversion in parts:
        if place is None:
            continue
        if place not in PLACES or layout or conversion:
            cure = suggestion(place, PLACES, otherwise=f"Known: {', '.join(f'{{{p}}}' for p in PLACES)}.")
            raise ConfigInvalid(f"id in {shown} has the unknown place {{{place}}}.", cure)
    if not rule.id:
        raise ConfigInvalid(f"id in {shown} is empty.", 'Write id = "{window}", or leave it out.')
