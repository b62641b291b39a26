"""The command that makes systemd services of this installation: write, print, remove, and say what comes next."""

from __future__ import annotations

import os
import shlex

from nova_torch.errors import Conflict, InvalidRequest
from novactl import out
from novactl.units import (
    CHANGED,
    MISSING,
    NAMES,
    OLDER,
    PURPOSE,
    RUN_AS,
    SAME,
    SYSTEM,
    Unit,
    check_reach,
    programs_here,
    user_directory,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from novactl.options import Values


def install(values: Values) -> int:
    """Write the units, or say or print what would be written, or remove them."""
    units = _units(values)
    if values["print"]:
        for unit in units:
            out.write(f"# {unit.path}\n{unit.text}\n")
        return 0
    if values["remove"]:
        return _remove(values, units)
    states = {unit.name: unit.state() for unit in units}
    changed = [unit for unit in units if states[unit.name] == CHANGED]
    if changed and not values["force"]:
        raise Conflict(
            f"{_named(changed)} was changed by somebody, or is not ours; nothing was written.",
            "Changes belong into a drop-in: systemctl edit NAME. With --force it is replaced, and kept beside.",
        )
    rows = []
    for unit in units:
        state, kept = states[unit.name], ""
        if state != SAME and not values["dry_run"]:
            kept = unit.write()
        word = {MISSING: "written", SAME: "already there", OLDER: "updated", CHANGED: "replaced"}[state]
        rows.append((unit, f"would be {word}" if values["dry_run"] and state != SAME else word, kept))
    _tell(values, rows)
    if not values["json"] and not values["dry_run"]:
        _say_next(values)
    return 0


def _units(values: Values) -> list[Unit]:
    user, run_as = values["user"], values["run_as"] or RUN_AS
    if user and values["run_as"]:
        raise InvalidRequest("--run-as is for the services of the machine.", "Leave out --user or --run-as.")
    if values["print"] and values["remove"]:
        raise InvalidRequest("--print and --remove exclude each other.")
    programs = programs_here()
    if not user and not values["print"] and not values["remove"]:
        check_reach(run_as, programs)
    directory = os.path.abspath(values["into"] or (user_directory() if user else SYSTEM))
    return [Unit(name, directory, user=user, programs=programs, run_as=run_as) for name in NAMES]


def _remove(values: Values, units: list[Unit]) -> int:
    states = {unit.name: unit.state() for unit in units}
    changed = [unit for unit in units if states[unit.name] == CHANGED]
    if changed and not values["force"]:
        raise Conflict(
            f"{_named(changed)} was changed by somebody, or is not ours; nothing was removed.",
            "Remove it by hand, or with --force.",
        )
    rows = []
    for unit in units:
        there = states[unit.name] != MISSING
        if there and not values["dry_run"]:
            unit.remove()
        word = "removed" if there else "not there"
        rows.append((unit, f"would be {word}" if values["dry_run"] and there else word, ""))
    _tell(values, rows)
    if not values["json"] and not values["dry_run"]:
        out.line("What runs goes on until it is stopped. Stopping nova-tmux ends the agents in it:")
        out.line(f"  {_systemctl(values)} disable --now nova-torchd nova-tmux")
        out.line(f"  {_systemctl(values)} daemon-reload")
    return 0


def _tell(values: Values, rows: list[tuple[Unit, str, str]]) -> None:
    if values["json"]:
        out.json_line(
            [{"name": unit.name, "path": unit.path, "state": word, "kept": kept} for unit, word, kept in rows]
        )
        return
    out.table(
        ("unit", "state", "what it is"),
        [
            (unit.path, f"{word}; the old one: {kept}" if kept else word, PURPOSE[unit.name])
            for unit, word, kept in rows
        ],
    )


def _say_next(values: Values) -> None:
    systemctl = _systemctl(values)
    steps = [
        (f"{systemctl} daemon-reload", "systemd reads the units"),
        (f"{systemctl} enable --now nova-tmux nova-torchd", "start both, now and at every boot"),
    ]
    if values["user"]:
        steps.insert(0, ("novactl down", "the node of novactl up, if one runs"))
        steps.append(("loginctl enable-linger", "and while you are logged out"))
    else:
        steps.append(("export NOVA_SOCKET=/run/nova-torch/control.sock", "for novactl, in your shell"))
    steps += [
        ("novactl status", "how it is"),
        (f"{systemctl} restart nova-torchd", "after an update: agents and messages stay"),
        (f"{systemctl} disable --now nova-torchd nova-tmux", "the way back: stop both, and the agents"),
        (_way_back(values), "and take the units away"),
    ]
    width = max(len(command) for command, _ in steps)
    out.line("")
    for command, why in steps:
        out.line(f"  {command:<{width}}  # {why}")


def _way_back(values: Values) -> str:
    into = f"--into {shlex.quote(values['into'])} " if values["into"] else ""
    return f"novactl install-service {'--user ' if values['user'] else ''}{into}--remove"


def _systemctl(values: Values) -> str:
    if values["user"]:
        return "systemctl --user"
    return "systemctl" if os.geteuid() == 0 else "sudo systemctl"


def _named(units: list[Unit]) -> str:
    return ", ".join(unit.path for unit in units)
