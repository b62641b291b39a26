"""Our hooks in Claude Code's settings: which events, and where the file is."""

from __future__ import annotations

import os
from typing import Any

from novactl.hooks import settings
from novactl.hooks.settings import command, remove

__all__ = ["EVENTS", "command", "install", "look", "remove", "settings_path"]

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


def install(path: str) -> bool:
    """Put our hooks in; True when the file changed. Raises Conflict for a file it does not understand."""
    return settings.install(
        path,
        {event: {"type": "command", "command": command(event), "timeout": TIMEOUT_S} for event in EVENTS},
    )


def look(path: str) -> dict[str, Any]:
    """Return what is installed; see `settings.look`."""
    return settings.look("claude", path, EVENTS)
