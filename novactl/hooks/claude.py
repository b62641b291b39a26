"""Install, remove and look at our hooks in Claude Code's settings."""

from __future__ import annotations

import os
import shlex
import sys
from typing import Any

from nova_torch.errors import Conflict
from novactl.hooks.file import SettingsFile
from novactl.hooks.merge import installed, split, with_ours, without_ours

EVENTS = (
    "SessionStart",
    "UserPromptSubmit",
    "Stop",
    "Notification",
    "PermissionRequest",
    "PreCompact",
    "SessionEnd",
)
TIMEOUT_S = 5  # Claude Code ends a hook after that; ours needs 50 ms


def settings_path(given: str | None) -> str:
    """Return the settings file: `given`, else settings.json below `$CLAUDE_CONFIG_DIR` or `~/.claude`."""
    if given:
        return os.path.abspath(os.path.expanduser(given))
    home = os.environ.get("CLAUDE_CONFIG_DIR") or os.path.join(os.path.expanduser("~"), ".claude")
    return os.path.join(os.path.abspath(home), "settings.json")


def command(event: str) -> str:
    """Return the command line of a hook.

    This very Python runs the hook script by its path: isolated and without `site` it is up before
    `python -c pass` is, while the console script is not.
    """
    script = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "hook.py")
    return shlex.join([sys.executable, "-I", "-S", script, event])


def install(path: str) -> bool:
    """Put our hooks in; True when the file changed. Raises Conflict for a file it does not understand."""
    file = SettingsFile.read(path)
    entries = {
        event: {"type": "command", "command": command(event), "timeout": TIMEOUT_S} for event in EVENTS
    }
    new = _explained(path, lambda: with_ours(file.data, entries))
    if new == file.data:
        return False
    if not any(installed(file.data, dict.fromkeys(EVENTS)).values()):
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


def look(path: str) -> dict[str, Any]:
    """Return what is installed: `{agent, settings, events: {EVENT: bool}, command, command_exists}`."""
    file = SettingsFile.read(path)
    found = _explained(path, lambda: installed(file.data, dict.fromkeys(EVENTS)))
    commands = sorted({each for each in found.values() if each})
    return {
        "agent": "claude",
        "settings": path,
        "events": {event: bool(each) for event, each in found.items()},
        "command": commands[0] if commands else "",
        "command_exists": bool(commands) and all(_exists(each) for each in commands),
    }


def _exists(line: str) -> bool:
    """Tell whether the programs and scripts that a hook names by their path are there."""
    return all(os.path.exists(word) for word in split(line) if word.startswith("/"))


def _explained(path: str, work: Any) -> Any:
    try:
        return work()
    except Conflict as error:
        raise Conflict(f"{path} cannot be used: {error.message}", error.hint) from None
