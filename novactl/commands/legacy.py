"""Commands about the drop-in scripts of the original Tmux Orchestrator: install, status, remove."""

from __future__ import annotations

import os

from novactl import out
from novactl.drop_ins import BROKEN, DIRECTORY, MISSING, NAMES, OURS, DropIn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from novactl.options import Values


def install(values: Values) -> int:
    """Link the scripts into a directory, and keep what was there."""
    rows = []
    for script in _scripts(values):
        before = script.state()
        kept = script.install() if before != OURS else ""
        done = "already there" if before == OURS else "installed"
        rows.append((script, done, f"what was there: {kept}" if kept else ""))
    _tell(values, rows)
    _say_what_is_found(values)
    return 0


def status(values: Values) -> int:
    """Say what stands in a directory under the scripts' names."""
    rows = []
    for script in _scripts(values):
        state, backups = script.state(), script.backups()
        told = {OURS: "installed", MISSING: "missing", BROKEN: "broken", "other": "not ours"}[state]
        rows.append((script, told, f"kept: {backups[-1]}" if backups else ""))
    _tell(values, rows)
    if any(told == "broken" for _, told, _ in rows):
        out.note("what they link to is gone; install again: novactl legacy install", quiet=values["quiet"])
    _say_what_is_found(values)
    return 0


def remove(values: Values) -> int:
    """Take the links away and put back what was there."""
    rows = []
    for script in _scripts(values):
        state = script.state()
        if state not in (OURS, BROKEN):
            rows.append((script, "missing" if state == MISSING else "not ours, left", ""))
            continue
        back = script.remove()
        rows.append((script, "removed", f"put back: {back}" if back else ""))
    _tell(values, rows)
    return 0


def _scripts(values: Values) -> list[DropIn]:
    return [DropIn(values["dir"] or DIRECTORY, name) for name in NAMES]


def _tell(values: Values, rows: list[tuple[DropIn, str, str]]) -> None:
    if values["json"]:
        out.json_line(
            [
                {
                    "name": script.name,
                    "path": script.path,
                    "source": script.source,
                    "state": told,
                    "detail": more,
                }
                for script, told, more in rows
            ]
        )
        return
    out.table(("script", "state", "detail"), [(script.path, told, more) for script, told, more in rows])


def _say_what_is_found(values: Values) -> None:
    """Say when a shell would run something else under these names."""
    from shutil import which

    for script in _scripts(values):
        found = which(script.name)
        if script.state() != OURS or (found is not None and os.path.realpath(found) == script.source):
            continue
        directory = os.path.dirname(script.path)
        why = f"PATH finds {found} first" if found else f"{directory} is not on PATH"
        out.note(
            f"{script.name}: {why}; put it in front: export PATH={directory}:$PATH", quiet=values["quiet"]
        )
        return
