"""Keep on disk what a migration did, each step before it is done, so that it can be finished and taken back.

One JSON file in the state directory, replaced as a whole. It goes when nothing is left to take back.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from typing import Any

from nova_torch.errors import Conflict, StoreFailed

NAME = "migration.json"
SCHEMA = 1
BEGUN, DONE = "begun", "done"

Step = dict[str, Any]
"""`kind` (script or agent), `state` (begun or done) and what it takes to undo it."""


class Journal:
    """The steps of a migration, the oldest first."""

    def __init__(self, directory: str) -> None:
        self.path = os.path.join(directory, NAME)
        self.steps = _read(self.path)

    def __repr__(self) -> str:
        return f"<Journal {self.path} {len(self.steps)} steps>"

    def of(self, kind: str) -> list[Step]:
        """Return the steps of one kind."""
        return [step for step in self.steps if step["kind"] == kind]

    def begin(self, step: Step, *, over: Step | None = None) -> Step:
        """Write down what is about to be done, if need be in the place of what was done to the same before."""
        step["state"] = BEGUN
        self.steps = [*(each for each in self.steps if each is not over), step]
        self.save()
        return step

    def done(self, step: Step) -> None:
        """Write down that it is done."""
        step["state"] = DONE
        self.save()

    def forget(self, step: Step) -> None:
        """Write down that nothing of it is left to take back."""
        self.steps = [each for each in self.steps if each is not step]
        self.save()

    def save(self) -> None:
        """Put the steps onto the disk. Raises StoreFailed."""
        try:
            if not self.steps:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.path)
                return
            made = f"{self.path}.new"
            with open(made, "w", encoding="utf-8", opener=_private) as file:
                json.dump({"schema": SCHEMA, "steps": self.steps}, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.replace(made, self.path)
            _sync_directory(os.path.dirname(self.path))
        except OSError as error:
            raise StoreFailed(
                f"{self.path} cannot be written: {error.strerror}.",
                "Nothing is done that is not written there.",
            ) from error


@contextlib.contextmanager
def opened(directory: str, *, only_read: bool = False) -> Iterator[Journal]:
    """Give the journal of a state directory, to one process at a time. Raises Conflict and StoreFailed."""
    if only_read:
        yield Journal(directory)
        return
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StoreFailed(
            f"{directory} cannot be used: {error.strerror}.", "Set NOVA_STATE_DIR to a directory of your own."
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict("another novactl migrate is at work.", "Wait until it has ended.") from None
        yield Journal(directory)
    finally:
        os.close(lock)


def _read(path: str) -> list[Step]:
    try:
        with open(path, "rb") as file:
            data = json.load(file)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise StoreFailed(f"{path} cannot be read: {error}.", _CURE) from None
    steps = data.get("steps") if isinstance(data, dict) and data.get("schema") == SCHEMA else None
    if not isinstance(steps, list) or not all(map(_whole, steps)):
        raise StoreFailed(f"{path} is no journal of this version.", _CURE)
    return steps


_CURE = "Look at it; moved away, nothing that it says can be taken back by this command."
_FIELDS = {
    "script": ("path", "backup", "before", "link"),
    "agent": ("agent_id", "pane", "node", "driver", "role", "skills", "known"),
}


def _whole(step: object) -> bool:
    return (
        isinstance(step, dict)
        and step.get("state") in (BEGUN, DONE)
        and step.get("kind") in _FIELDS
        and all(name in step for name in _FIELDS[step["kind"]])
    )


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
