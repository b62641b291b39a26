"""Keep a broker's URL with a password to the daemon: agents of a tmux server that it starts would inherit it."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

from nova_torch.config import Config, load
from nova_torch.redaction import without_password

URL = "NOVA_BROKER_URL"

_taken: dict[str, str] = {}


def take_secrets(environment: MutableMapping[str, str] | None = None) -> None:
    """Take a URL with a password out of the environment of whatever this process will start."""
    given = os.environ if environment is None else environment
    if URL in given and without_password(given[URL]) != given[URL]:
        _taken[URL] = given.pop(URL)


def load_again(source: str) -> Config:
    """Read the configuration anew, with all that this process was started with. Raises ConfigInvalid."""
    return load(source or None, {**os.environ, **_taken})
