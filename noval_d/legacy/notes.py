"""Keep the notes of schedules: a file for each, and the one of the latest, in the original's four lines."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

from nova_torch import paths
from nova_torch.errors import StoreFailed

NAME = "next_check_note.txt"
LOG = "schedule.log"
KEEP_S = 7 * 86_400.0  # of a schedule's own note, after it was written
MODE = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Where a note stands: its schedule's own file, and the one that every schedule writes anew."""

    own: str
    current: str

    @property
    def log(self) -> str:
        """Where what became of schedules is written."""
        return os.path.join(os.path.dirname(self.current), LOG)


def write(environment: Mapping[str, str], key: str, minutes: str, note: str, now_s: float) -> Note:
    """Write the note of the schedule `key` and return where it is.

    `NOVA_LEGACY_NOTE` names the current file, else it is below the state directory; the schedule's own stands
    beside it. Raises StoreFailed.
    """
    current = os.path.abspath(
        environment.get("NOVA_LEGACY_NOTE") or os.path.join(paths.find_state_dir(environment), "legacy", NAME)
    )
    stem, ending = os.path.splitext(current)
    made = Note(own=f"{stem}.{key}{ending}", current=current)
    date = time.strftime("%a %b %e %H:%M:%S %Z %Y", time.localtime(now_s))
    text = f"=== Next Check Note ({date}) ===\nScheduled for: {minutes} minutes\n\n{note}\n"
    try:
        os.makedirs(os.path.dirname(current), mode=0o700, exist_ok=True)
        for path in (made.own, made.current):
            _replace(path, key, text)
        _sweep(stem, ending, now_s)
    except OSError as error:
        raise StoreFailed(
            f"the note cannot be written to {current}: {error.strerror}.",
            "Name another file in NOVA_LEGACY_NOTE.",
        ) from None
    return made


def _replace(path: str, key: str, text: str) -> None:
    """Write a file so that whoever reads it sees the old or the new one, never a half."""
    made = f"{path}.{key}.new"
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
    try:
        with open(descriptor, "wb") as file:
            file.write(os.fsencode(text))
        os.replace(made, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(made)
        raise


def _sweep(stem: str, ending: str, now_s: float) -> None:
    """Remove schedules' own notes that are old. One of a schedule that is still to come is in its text, too."""
    directory, start = os.path.split(stem)
    for name in os.listdir(directory):
        key = name.removeprefix(f"{start}.").removesuffix(ending)
        if name == f"{start}.{key}{ending}" and len(key) == 26:  # ULIDs: nobody else's file
            path = os.path.join(directory, name)
            with contextlib.suppress(OSError):
                if now_s - os.path.getmtime(path) > KEEP_S:
                    os.unlink(path)
