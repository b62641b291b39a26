"""The installation that a report is about, as far as novactl sees it, and the secrets that it must not hold."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nova_torch import paths
from nova_torch.config import Config, load
from nova_torch.errors import NovaError
from nova_torch.login import read_login
from nova_torch.redaction import LEAST, passwords_of, secret_name
from nova_torch.secret_files import FLEET_KEYS, MOST_BYTES, secret_path

KEY_CHARS = 16
"""A shorter word of a key file is the name of a key or a comment."""
PATHS = ("_FILE", "_PATH", "_DIR", "_HOME")
"""A variable whose name ends so says where something is: that is no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where everything is. `config` is None when it cannot be read; `problem` says why."""

    environment: Mapping[str, str]
    socket: str
    state: Path
    timeout_s: float
    config: Config | None
    problem: NovaError | None
    secrets: frozenset[str]
    unread: tuple[str, ...]
    """Why files with secrets could not be read here: their words cannot be looked for."""


def find(socket: str, timeout_s: float, environment: Mapping[str, str] | None = None) -> Place:
    """Return the place that the options, the environment and the configuration's file name."""
    env = dict(os.environ if environment is None else environment)
    config, problem = None, None
    try:
        config = load(env=env)
    except NovaError as error:
        problem = error
    secrets, unread = secrets_of(config, env)
    return Place(
        environment=env,
        socket=socket,
        state=Path(config.state.dir if config is not None else paths.find_state_dir(env)),
        timeout_s=timeout_s,
        config=config,
        problem=problem,
        secrets=secrets,
        unread=unread,
    )


def secrets_of(config: Config | None, env: Mapping[str, str]) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return every secret that can be known here, and what could not be read."""
    found = [value for name, value in env.items() if secret_name(name) and not name.upper().endswith(PATHS)]
    found += [word for value in env.values() for word in passwords_of(value)]
    unread: list[str] = []
    if config is not None:
        found += passwords_of(config.broker.url)
        found += [value for template in config.agents.values() for value in template.env.values()]
        try:
            found.append(read_login(config.broker, env).password or "")
        except NovaError as error:
            unread.append(error.message)
        try:
            found += _words(secret_path(config.signing.key_file, FLEET_KEYS, env))
        except OSError as error:
            unread.append(f"the key file {config.signing.key_file} cannot be read: {error.strerror}.")
    return frozenset(word for word in found if len(word) >= LEAST), tuple(unread)


def _words(path: str) -> list[str]:
    """Return what a key file holds that may be a key, also of one that is no good."""
    if not path:
        return []
    with open(path, encoding="utf-8", errors="replace") as file:
        return [word for word in file.read(MOST_BYTES).split() if len(word) >= KEY_CHARS]
