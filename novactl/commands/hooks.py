"""Commands about the hooks in the agents' settings."""

from __future__ import annotations

from novactl import out
from novactl.hooks import claude

TYPE_CHECKING = False
if TYPE_CHECKING:
    from novactl.options import Values


def install(values: Values) -> int:
    """Write our hooks into the agent's settings."""
    path = claude.settings_path(values["settings"])
    changed = claude.install(path)
    if changed:
        out.note("agents that run already load them when they start again", quiet=values["quiet"])
    return _done(values, path, changed, "installed in" if changed else "already installed in")


def remove(values: Values) -> int:
    """Take exactly our hooks out of the agent's settings."""
    path = claude.settings_path(values["settings"])
    changed = claude.remove(path)
    return _done(values, path, changed, "removed from" if changed else "not installed in")


def status(values: Values) -> int:
    """Say which hooks are installed and whether what they call still exists."""
    report = claude.look(claude.settings_path(values["settings"]))
    if values["json"]:
        out.json_line(report)
        return 0
    out.table(
        ("event", "state"),
        [(event, "installed" if there else "missing") for event, there in report["events"].items()],
    )
    if not all(report["events"].values()):
        out.note("install what is missing: novactl hooks install claude", quiet=values["quiet"])
    elif not report["command_exists"]:
        out.note(
            f"what they call is gone: {report['command']}; install again: novactl hooks install claude",
            quiet=values["quiet"],
        )
    return 0


def _done(values: Values, path: str, changed: bool, how: str) -> int:
    if values["json"]:
        out.json_line({"agent": "claude", "settings": path, "changed": changed})
    else:
        out.line(f"hooks {how} {path}")
    return 0
