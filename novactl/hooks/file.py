"""Read and write a settings file of another program: nothing lost, atomically, with a backup.

The backup holds the file as it was before our hooks came; `restore_if_same` puts its very bytes back.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from nova_torch.errors import Conflict, NotAllowed, StoreFailed

BACKUP_SUFFIX = ".before-nova-torch"
LIMIT_BYTES = 32 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsFile:
    """A settings file as it was read. `path` is where it really is; `raw` is None when it does not exist."""

    path: str
    raw: bytes | None
    data: dict[str, Any]

    @classmethod
    def read(cls, path: str) -> Self:
        """Read `path`, through symlinks. Raises Conflict when it cannot be understood completely."""
        real = os.path.realpath(os.path.expanduser(path))
        raw = _bytes_of(real)
        return cls(path=real, raw=raw, data=_parsed(raw, real))

    @property
    def backup(self) -> str:
        """Where the file as it was before our hooks is kept."""
        return self.path + BACKUP_SUFFIX

    def before(self) -> dict[str, Any] | None:
        """Return what the backup holds, None when there is none that can be read."""
        try:
            raw = _bytes_of(self.backup)
            return None if raw is None else _parsed(raw, self.backup)
        except (Conflict, NotAllowed, StoreFailed):
            return None

    def keep_backup(self) -> None:
        """Keep the file as it is now; when there is none, no older backup may stand for it."""
        if self.raw is not None:
            _write(self.backup, self.raw, like=self.path)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.backup)

    def write(self, data: Mapping[str, Any]) -> None:
        """Replace the file by `data`, in its own indentation. Raises Conflict when it changed since."""
        self._check_unchanged()
        _write(self.path, _spelled(data, self.raw), like=self.path)

    def restore_if_same(self, data: Mapping[str, Any]) -> bool:
        """Put the bytes of the backup back when they mean `data`; remove a file that only we filled."""
        self._check_unchanged()
        raw = _bytes_of(self.backup)
        if raw is None and not data:
            os.unlink(self.path)
            return True
        if raw is None or not _same(self.before(), data):
            return False
        _write(self.path, raw, like=self.path)
        os.unlink(self.backup)
        return True

    def _check_unchanged(self) -> None:
        if _bytes_of(self.path) != self.raw:
            raise Conflict(f"{self.path} was changed by another program just now.", "Run this again.")


def _bytes_of(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            raw = file.read(LIMIT_BYTES + 1)
    except FileNotFoundError:
        return None
    except PermissionError:
        raise NotAllowed(f"{path} cannot be read: permission denied.", "Run this as its owner.") from None
    except OSError as error:
        raise StoreFailed(f"{path} cannot be read: {error.strerror}.", "Name another --settings.") from error
    if len(raw) > LIMIT_BYTES:
        raise Conflict(f"{path} is larger than any settings file.", "Name another --settings.")
    return raw


def _parsed(raw: bytes | None, path: str) -> dict[str, Any]:
    if raw is None or not raw.strip():
        return {}
    cure = "Correct it first; nothing was changed."
    try:
        data = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Conflict(f"{path} cannot be read as JSON: {error}.", cure) from None
    if not isinstance(data, dict):
        raise Conflict(f"{path} does not hold a JSON object.", cure)
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        twice = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return data


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def _same(one: object, other: object) -> bool:
    return json.dumps(one) == json.dumps(other)  # the order of keys counts, and 1 is not true


def _spelled(data: Mapping[str, Any], raw: bytes | None) -> bytes:
    """Return `data` as JSON, indented and ended like `raw`."""
    old = (raw or b"").decode("utf-8", "replace")
    indent: str | int | None = 2
    lines = old.strip().splitlines()
    if len(lines) > 1:
        second = lines[1]
        indent = second[: len(second) - len(second.lstrip())] or 0
    text = json.dumps(data, indent=indent, ensure_ascii=False)
    if raw is None or not old.strip() or old.endswith("\n"):
        text += "\n"
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate is only spelled as an escape
        return text.encode("utf-8", "backslashreplace")


def _write(path: str, raw: bytes, *, like: str) -> None:
    """Write `path` whole or not at all, with the mode and owner of `like` (0600 when that does not exist)."""
    directory = os.path.dirname(path)
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        fd, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=directory)
    except OSError as error:
        raise StoreFailed(f"{directory} cannot be written: {error.strerror}.") from error
    try:
        with os.fdopen(fd, "wb") as file:
            with contextlib.suppress(FileNotFoundError):
                old = os.stat(like)
                with contextlib.suppress(PermissionError):
                    os.fchown(file.fileno(), old.st_uid, old.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(old.st_mode))
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise StoreFailed(f"{path} cannot be written: {error.strerror}.") from error
