"""Look at what novactl can see without the daemon: tmux, state directory, configuration, hooks."""

from __future__ import annotations

import os
import shutil

from nova_torch import paths
from nova_torch.config import load
from nova_torch.errors import NovaError
from novactl.hooks import claude

Finding = dict[str, str]


def here() -> list[Finding]:
    """Return the findings `{code, severity, message, hint}` of this machine and user."""
    return [_tmux(), _state(), _config(), _hooks()]


def _finding(code: str, severity: str, message: str, hint: str = "") -> Finding:
    return {"code": code, "severity": severity, "message": message, "hint": hint}


def _tmux() -> Finding:
    found = shutil.which("tmux")
    if found:
        return _finding("tmux_program", "ok", f"tmux is {found}.")
    return _finding("tmux_program", "error", "tmux is not on PATH.", "Install tmux 3.2 or later.")


def _state() -> Finding:
    directory = paths.find_state_dir()
    if not os.path.isdir(directory):
        return _finding("state_dir", "ok", f"the state directory {directory} does not exist yet.")
    if os.access(directory, os.W_OK | os.X_OK):
        return _finding("state_dir", "ok", f"the state directory is {directory}.")
    return _finding(
        "state_dir",
        "error",
        f"{directory} cannot be written.",
        "Correct its permissions, or set NOVA_STATE_DIR.",
    )


def _config() -> Finding:
    try:
        source = load().source
    except NovaError as error:
        return _finding("config", "error", error.message, error.hint)
    return _finding("config", "ok", f"the configuration is {source or 'all defaults'}.")


def _hooks() -> Finding:
    cure = "Install them: novactl hooks install claude"
    try:
        report = claude.look(claude.settings_path(None))
    except NovaError as error:
        return _finding("hooks_claude", "warning", error.message, error.hint)
    missing = [event for event, there in report["events"].items() if not there]
    if missing:
        return _finding(
            "hooks_claude", "warning", f"Claude Code's hooks are missing: {', '.join(missing)}.", cure
        )
    if not report["command_exists"]:
        return _finding("hooks_claude", "error", "Claude Code's hooks call a program that is gone.", cure)
    return _finding("hooks_claude", "ok", "Claude Code's hooks are installed.")
