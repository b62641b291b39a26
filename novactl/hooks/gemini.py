"""Our hooks in Gemini CLI's settings: which events, and where the file is."""

from __future__ import annotations

import os
from typing import Any

from novactl.hooks import settings
from novactl.hooks.file import SettingsFile
from novactl.hooks.settings import command, remove

__all__ = ["EVENTS", "command", "entries", "install", "look", "remove", "settings_path"]

# Not PreCompress: it fires in every turn, whether anything is compressed or not (0.61.0). Not SessionEnd: it fires
# three times at the end, delays it, and leaves lines in the terminal; that the agent has gone is seen anyway.
EVENTS = ("SessionStart", "BeforeAgent", "AfterAgent", "Notification")
TIMEOUT_MS = 5000  # Gemini CLI waits no longer for a hook; ours needs 50 ms
NAME = "nova-torch"  # what it shows while a hook runs, and what its `/hooks` lists


def settings_path(given: str | None) -> str:
    """Return the settings file: `given`, else .gemini/settings.json below `$GEMINI_CLI_HOME` or `~`."""
    if given:
        return os.path.abspath(os.path.expanduser(given))
    home = os.environ.get("GEMINI_CLI_HOME") or os.path.expanduser("~")
    return os.path.join(os.path.abspath(home), ".gemini", "settings.json")


def entries() -> dict[str, dict[str, Any]]:
    """Return our entry for each event."""
    return {
        event: {"type": "command", "name": NAME, "command": command(event), "timeout": TIMEOUT_MS}
        for event in EVENTS
    }


def install(path: str) -> bool:
    """Put our hooks in; True when the file changed. Raises Conflict for a file it does not understand."""
    return settings.install(path, entries())


def look(path: str) -> dict[str, Any]:
    """Return what is installed, see `settings.look`; `off` says why they do not run although they are there."""
    return {**settings.look("gemini", path, EVENTS), "off": _off(SettingsFile.read(path).data)}


def _off(data: dict[str, Any]) -> str:
    config = data.get("hooksConfig")
    if not isinstance(config, dict):
        return ""
    if config.get("enabled") is False:
        return "hooksConfig.enabled is false"
    disabled = config.get("disabled")
    return f"hooksConfig.disabled names {NAME}" if isinstance(disabled, list) and NAME in disabled else ""
