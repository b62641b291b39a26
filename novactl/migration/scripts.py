"""Replace the original's scripts by ours, with backups, and put them back byte for byte."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from typing import Any

from nova_torch.errors import NovaError
from novactl.drop_ins import BROKEN, MISSING, NAMES, OTHER, OURS, DropIn
from novactl.migration.journal import BEGUN, Journal, Step
from novactl.migration.original import FOREIGN, NOVA, ORIGINAL, kind_of
from novactl.migration.row import Row

LIMIT_BYTES = 1 << 20  # the original's largest script has some 6 KiB
USUAL = "~/Tmux-Orchestrator"


def directories(panes: Iterable[str]) -> list[str]:
    """Return where scripts are looked for: on PATH, in the original's usual place, where the panes work."""
    named = [*os.environ.get("PATH", "").split(os.pathsep), os.path.expanduser(USUAL), *panes]
    return distinct(path for path in named if os.path.isabs(path) and os.path.isdir(path))


def distinct(paths: Iterable[str]) -> list[str]:
    """Return each directory once, whatever its names, in their order."""
    return list({os.path.realpath(path): path for path in reversed(list(paths))}.values())[::-1]


def found(places: Iterable[str]) -> Iterator[tuple[DropIn, str]]:
    """Give every script in these directories, and what it is."""
    for place in places:
        for name in NAMES:
            script = DropIn(place, name)
            state = script.state()
            if state != MISSING:
                yield script, NOVA if state in (OURS, BROKEN) else _kind(script)


def replace(script: DropIn, kind: str, journal: Journal, *, force: bool, dry_run: bool) -> Row:
    """Put our script in the place of one."""
    reason = _reason_to_leave(script, kind, force=force)
    if reason:
        return _row(script, kind, "left", reason)
    try:
        backup = script.free_backup()
        if dry_run:
            return _row(script, kind, "would be replaced", f"kept as {backup}")
        step = _step_for(script, journal) or journal.begin({
            "kind": "script",
            "path": script.path,
            "backup": backup,
            "link": script.source,
            "before": fingerprint(script.path),
        })  # fmt: skip
        return _finish(script, kind, step, journal)
    except NovaError as error:
        return _row(script, kind, "failed", str(error))


def finish(journal: Journal) -> list[Row]:
    """Finish what an earlier run had begun and a crash left half done."""
    rows = []
    for step in journal.of("script"):
        script = _script(step)
        if step["state"] != BEGUN:
            continue
        if script.state() == MISSING and not fingerprint(step["backup"]):  # somebody has deleted it
            journal.forget(step)
        elif script.state() == MISSING or _is_ours(script, step):
            try:
                rows.append(_finish(script, ORIGINAL, step, journal))
            except NovaError as error:
                rows.append(_row(script, ORIGINAL, "failed", str(error)))
    return rows


def put_back(step: Step, journal: Journal, *, dry_run: bool) -> Row:
    """Undo one step, if what is there now is what it made."""
    script = _script(step)
    back = decide_back(
        ours=_is_ours(script, step) or script.state() == MISSING,
        same=fingerprint(script.path) == step["before"],
        backup=fingerprint(step["backup"]),
        before=step["before"],
    )
    shown = {MISSING: MISSING, BROKEN: BROKEN, OURS: NOVA}.get(script.state(), _kind(script))
    there = back == "there already"
    if back and not there:
        return _row(script, shown, "kept", back.replace("BACKUP", step["backup"]))
    if dry_run:
        return _row(script, shown, back or "would be put back")
    try:
        script.tidy()
        if not there:
            os.replace(step["backup"], script.path)
        elif fingerprint(step["backup"]) == step["before"]:
            os.unlink(step["backup"])
    except OSError as error:
        return _row(script, shown, "failed", f"{script.path} cannot be changed: {error.strerror}")
    journal.forget(step)
    return _row(script, shown, back or "put back")


def decide_back(*, ours: bool, same: bool, backup: dict[str, Any], before: dict[str, Any]) -> str:
    """Return "" to put the backup back, "there already", or why what is there stays. Pure."""
    if same:
        return "there already"
    if not ours:
        return "it was changed since; what was there before is BACKUP"
    if not backup:
        return "its backup BACKUP is gone"
    return "" if backup == before else "its backup BACKUP was changed since"


def fingerprint(path: str) -> dict[str, Any]:
    """Return what tells a file from others: a link's text, or a file's bytes and mode; {} for nothing there."""
    try:
        known = os.lstat(path)
        if stat.S_ISLNK(known.st_mode):
            return {"link": os.fsencode(os.readlink(path)).hex()}
        if not stat.S_ISREG(known.st_mode):
            return {"type": stat.S_IFMT(known.st_mode)}
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return {}
    except OSError as error:
        return {"unreadable": error.errno}
    return {"sha256": digest, "mode": stat.S_IMODE(known.st_mode)}


def _finish(script: DropIn, kind: str, step: Step, journal: Journal) -> Row:
    script.install(step["backup"])
    step["before"] = (
        fingerprint(step["backup"]) or step["before"]
    )  # of what was kept, should it have changed in between
    journal.done(step)
    return _row(script, kind, "replaced", f"kept as {step['backup']}")


def _step_for(script: DropIn, journal: Journal) -> Step | None:
    """Return the step that an earlier run began for this very file; one that tells of another is over."""
    now = fingerprint(script.path)
    for step in journal.of("script"):
        if step["path"] != script.path:
            continue
        kept = fingerprint(step["backup"])
        if step["state"] == BEGUN and step["before"] == now and (not kept or _same_file(script, step)):
            return step
        if kept == now:  # put back by hand; the file itself is what will be kept
            os.unlink(step["backup"])
        journal.forget(step)
    return None


def _same_file(script: DropIn, step: Step) -> bool:
    return os.path.samestat(os.lstat(script.path), os.lstat(step["backup"]))


def _reason_to_leave(script: DropIn, kind: str, *, force: bool) -> str:
    if script.state() == BROKEN:
        return (
            f"it links to what is gone; mend it: novactl legacy install --dir {os.path.dirname(script.path)}"
        )
    if kind == NOVA:
        return "it is ours already"
    if os.path.isdir(script.path) and not os.path.islink(script.path):
        return "it is a directory"
    if "unreadable" in fingerprint(script.path):
        return "it cannot be read"
    if kind == FOREIGN and not force:
        return "it is not known; --force replaces it, too"
    return ""


def _kind(script: DropIn) -> str:
    try:
        if not stat.S_ISREG(os.stat(script.path).st_mode):  # a pipe would keep whoever opens it
            return FOREIGN
        with open(script.path, "rb") as file:
            return kind_of(script.name, file.read(LIMIT_BYTES))
    except OSError:
        return FOREIGN


def _script(step: Step) -> DropIn:
    return DropIn(*os.path.split(step["path"]))


def _is_ours(script: DropIn, step: Step) -> bool:
    if script.state() in (OURS, BROKEN):
        return True
    return (
        script.state() == OTHER and os.path.islink(script.path) and os.readlink(script.path) == step["link"]
    )


def _row(script: DropIn, kind: str, done: str, detail: str = "") -> Row:
    return Row(kind="script", name=script.name, where=script.path, found=kind, done=done, detail=detail)
