"""Commands about the hooks in the agents' settings."""

from __future__ import annotations

from importlib import import_module

from novactl import out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType
    from typing import Any

    from novactl.options import Values


def install(values: Values) -> int:
    """Write our hooks into the agent's settings."""
    program = _program(values)
    path = program.settings_path(values["settings"])
    changed = program.install(path)
    if changed:
        out.note("agents that run already load them when they start again", quiet=values["quiet"])
    _say_if_off(values, program.look(path))
    return _done(values, path, changed, "installed in" if changed else "already installed in")


def remove(values: Values) -> int:
    """Take exactly our hooks out of the agent's settings."""
    program = _program(values)
    path = program.settings_path(values["settings"])
    changed = program.remove(path)
    return _done(values, path, changed, "removed from" if changed else "not installed in")


def status(values: Values) -> int:
    """Say which hooks are installed and whether what they call still exists."""
    program = _program(values)
    report = program.look(program.settings_path(values["settings"]))
    if values["json"]:
        out.json_line(report)
        return 0
    out.table(
        ("event", "state"),
        [(event, "installed" if there else "missing") for event, there in report["events"].items()],
    )
    if not all(report["events"].values()):
        out.note(f"install what is missing: {_again(values)}", quiet=values["quiet"])
    elif not report["command_exists"]:
        out.note(
            f"what they call is gone: {report['command']}; install again: {_again(values)}",
            quiet=values["quiet"],
        )
    else:
        _say_if_off(values, report)
    return 0


def _say_if_off(values: Values, report: Mapping[str, Any]) -> None:
    """Say why the hooks do not run although they are there, and what helps."""
    if report.get("off"):
        cure = report.get("cure") or f"change that in {report['settings']}"
        out.note(f"they do not run: {report['off']}; {cure}", quiet=values["quiet"])


def _done(values: Values, path: str, changed: bool, how: str) -> int:
    if values["json"]:
        out.json_line({"agent": values["agent"], "settings": path, "changed": changed})
    else:
        out.line(f"hooks {how} {path}")
    return 0


def _program(values: Values) -> ModuleType:
    """Return the module about the agent's settings: one of the same name in `novactl.hooks`."""
    return import_module(f"novactl.hooks.{values['agent']}")


def _again(values: Values) -> str:
    return f"novactl hooks install {values['agent']}"
