"""Templates of agents in the configuration (`[agents.NAME]`): read strictly, show without secrets. Light."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from nova_torch.errors import ConfigInvalid
from nova_torch.nearest import suggestion

RESTARTS = ("always", "on-failure", "never")
ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,54}\Z")  # with `-` and eight digits it is an agent's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """What `novactl spawn NAME` starts, as far as its options do not say otherwise."""

    role: str = ""
    """Its role; the template's name when empty."""
    skills: tuple[str, ...] = ()
    driver: str = ""
    """How it is typed into; by the command when empty."""
    cwd: str = ""
    command: tuple[str, ...] = ()
    """What is started, word by word; the driver's own command when empty."""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)  # secrets, often
    prompt: str = ""
    session: str = ""
    restart: str = ""
    allow: tuple[str, ...] = ()
    """Dialogs of its start that may be answered."""

    def shown(self) -> dict[str, Any]:
        """Return it for people: of its environment only the names."""
        shown = {key.name: getattr(self, key.name) for key in fields(self)}
        return {**shown, "env": dict.fromkeys(self.env, "***")}


def read_templates(table: Any, source: str) -> dict[str, Template]:
    """Return the templates of the section `agents`. Raises ConfigInvalid naming the key and what would be right."""
    if not isinstance(table, Mapping):
        raise ConfigInvalid(f"agents in {source} is not a section.", "Write [agents.NAME] for each template.")
    return {name: _template(name, given) for name, given in table.items()}


def _template(name: str, given: Any) -> Template:
    if not _NAME.match(name):
        raise ConfigInvalid(
            f"[agents.{name}] is no name of a template.", "Use letters, digits, '_', '.', '-'."
        )
    if not isinstance(given, Mapping):
        raise ConfigInvalid(f"agents.{name} is {given!r}.", f"Write [agents.{name}] and its keys below.")
    known = {key.name for key in fields(Template)}
    for key in given:
        if key not in known:
            cure = suggestion(key, known, otherwise=f"Known: {', '.join(sorted(known))}.")
            raise ConfigInvalid(f"unknown key in section [agents.{name}]: {key}.", cure)
    return Template(**{key: _value(f"agents.{name}.{key}", key, value) for key, value in given.items()})


def _value(shown: str, key: str, value: Any) -> Any:
    if key == "env":
        return _environment(shown, value)
    if key in ("skills", "command", "allow"):
        if not isinstance(value, list) or not all(isinstance(word, str) and word for word in value):
            raise ConfigInvalid(f"{shown} is {value!r}.", "It must be a list of texts.")
        return tuple(value)
    if not isinstance(value, str):
        raise ConfigInvalid(f"{shown} is {value!r}.", "It must be a text.")
    if key == "restart" and value not in RESTARTS:
        cure = suggestion(value, RESTARTS, otherwise=f"It is one of {', '.join(RESTARTS)}.")
        raise ConfigInvalid(f"{shown} is {value!r}.", cure)
    return value


def _environment(shown: str, value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(text, str) for text in value.values()):
        raise ConfigInvalid(f"{shown} is not a table of texts.", 'Write env = { NAME = "value" }.')
    for name in value:
        if not ENV_NAME.match(name):
            raise ConfigInvalid(f"{shown}.{name} is no name of a variable.", "Use letters, digits and '_'.")
    return dict(value)
