"""Install, remove and look at our hooks in a settings file of the shape that `merge` knows; no agent's names."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from nova_torch.errors import Conflict
from novactl.hooks.file import SettingsFile
from novactl.hooks.merge import installed, split, with_ours, without_ours

T = TypeVar("T")


def command(event: str) -> str:
    """Return the command line of a hook.

    This very Python runs the hook script by its path: isolated and without `site` it is up before
    `python -c pass` is, while the console script is not.
    """
    script = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "hook.py")
    return shlex.join([sys.executable, "-I", "-S", script, event])


def install(path: str, entries: Mapping[str, Mapping[str, Any]]) -> bool:
    """Put our entry for each event in; True when the file changed. Raises Conflict for a file it does not know."""
    file = SettingsFile.read(path)
    new = _explained(path, lambda: with_ours(file.data, entries))
    if new == file.data:
        return False
    if not any(installed(file.data, entries).values()):
        file.keep_backup()
    file.write(new)
    return True


def remove(path: str) -> bool:
    """Take exactly our hooks out; True when the file changed."""
    file = SettingsFile.read(path)
    new = _explained(path, lambda: without_ours(file.data, file.before()))
    if new == file.data:
        return False
    if not file.restore_if_same(new):
        file.write(new)
    return True


def look(agent: str, path: str, events: Iterable[str]) -> dict[str, Any]:
    """Return what is installed: `{agent, settings, events: {EVENT: bool}, command, command_exists}`."""
    file = SettingsFile.read(path)
    found = _explained(path, lambda: installed(file.data, dict.fromkeys(events)))
    commands = sorted({each for each in found.values() if each})
    return {
        "agent": agent,
        "settings": path,
        "events": {event: bool(each) for event, each in found.items()},
        "command": commands[0] if commands else "",
        "command_exists": bool(commands) and all(_exists(each) for each in commands),
    }


def _exists(line: str) -> bool:
    """Tell whether the programs and scripts that a hook names by their path are there."""
    return all(os.path.exists(word) for word in split(line) if word.startswith("/"))


def _explained(path: str, work: Callable[[], T]) -> T:
    try:
        return work()
    except Conflict as error:
        raise Conflict(f"{path} cannot be used: {error.message}", error.hint) from None
