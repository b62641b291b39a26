"""Our hooks in Codex's hooks.json: which events, where the file is, and that Codex trusts them."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from novactl.hooks import codex_trust, settings
from novactl.hooks.codex_trust import TrustError

EVENTS = (
    "SessionStart",
    "UserPromptSubmit",
    "Stop",
    "Interrupt",
    "PermissionRequest",
    "PreCompact",
    "SessionEnd",
)
TIMEOUT_S = 3  # as long as Codex gives the one of SessionEnd at most; ours needs 50 ms
SHARED = "app-server"
"""In the command line of the server that several Codex share: its hooks do not know whose pane they tell of."""
REVIEW = "start codex and trust them in /hooks"


def settings_path(given: str | None) -> str:
    """Return the hooks file: `given`, else hooks.json below `$CODEX_HOME` or `~/.codex`."""
    if given:
        return os.path.abspath(os.path.expanduser(given))
    home = os.environ.get("CODEX_HOME") or os.path.join(os.path.expanduser("~"), ".codex")
    return os.path.join(os.path.abspath(home), "hooks.json")


def command(event: str) -> str:
    """Return the command line of a hook; within the shared server it reports nothing."""
    return f"{settings.command(event)} {SHARED}"


def entries() -> dict[str, dict[str, Any]]:
    """Return our entry for each event."""
    return {event: {"type": "command", "command": command(event), "timeout": TIMEOUT_S} for event in EVENTS}


def install(path: str) -> bool:
    """Put our hooks in and make Codex trust them, where it can be asked; True when anything changed.

    Raises Conflict for a file it does not understand.
    """
    changed = settings.install(path, entries())
    binary = codex_trust.find_codex()
    if binary is None or not _is_home(path):
        return changed
    try:
        return codex_trust.trust(path, binary) or changed
    except TrustError:
        return changed  # `look` says why they do not run


def remove(path: str) -> bool:
    """Take exactly our hooks out, and what Codex keeps about them; True when the file changed."""
    binary = codex_trust.find_codex() if _is_home(path) and os.path.exists(path) else None
    try:
        names = codex_trust.keys(path, binary) if binary else []
    except TrustError:
        names = []
    changed = settings.remove(path)
    if changed and binary and names:
        with contextlib.suppress(TrustError):  # what stays is a hash that no hook has: it allows nothing
            codex_trust.forget(path, binary, names)
    return changed


def look(path: str) -> dict[str, Any]:
    """Return what is installed, see `settings.look`; `off` says why they do not run although they are there."""
    report = settings.look("codex", path, EVENTS)
    return {**report, "off": _off(path) if all(report["events"].values()) else "", "cure": REVIEW}


def _off(path: str) -> str:
    if not _is_home(path):
        return "Codex reads hooks.json only, below $CODEX_HOME or in a project's .codex"
    binary = codex_trust.find_codex()
    if binary is None:
        return "codex is not on PATH, so it cannot be asked whether it trusts them"
    try:
        events = codex_trust.untrusted(path, binary)
    except TrustError as error:
        return f"whether Codex trusts them is not known ({error})"
    return f"Codex does not trust {', '.join(events)}" if events else ""


def _is_home(path: str) -> bool:
    return os.path.basename(path) == "hooks.json"
