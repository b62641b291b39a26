"""Write down who asked what of the control socket, and what was refused: JSON lines, never a body or a secret.

A line is one `write` into the page cache (no fsync), after the answer is known; what cannot be written is counted,
and changes nothing of the call. A call that a kill -9 ends has no line.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nova_torch.audit import NAME
from noval_d.control.calls import Access, Call, Peer

log = logging.getLogger("nova.audit")

MIB = 1 << 20
FIELD_CHARS = 128
"""Of a name that a caller gives, so much is written."""
TARGETS = ("target", "agent_id", "agent", "name", "pane")
"""Arguments that say whom a call is about; the first that is given is written."""
IDS = ("id", "question")
QUIET = frozenset({"hook"})
"""Write calls that are made all the time and by programs only: not written when they go well."""
COUNTED = 1024
"""Refusals of so many kinds are counted apart; then the counting begins anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, as the kernel says: the program, and the agent in whose pane it runs."""

    uid: int
    pid: int
    exe: str
    agent: str


class Audit:
    """The audit log in `directory`. `agent_of` names the agent in whose pane a process runs, '' for none."""

    def __init__(
        self,
        directory: str,
        *,
        agent_of: Callable[[int], str],
        clock_ms: Callable[[], int],
        file_bytes: int = 16 * MIB,
        files: int = 4,
    ) -> None:
        self.path = os.path.join(directory, NAME)
        self._agent_of = agent_of
        self._clock_ms = clock_ms
        self._file_bytes = file_bytes
        self._files = files
        self._fd = -1
        self._size = 0
        self._torn = False
        self._refused: dict[tuple[object, ...], int] = {}
        self.lost = 0
        """Lines that could not be written since the last one that could."""
        self.failing = ""
        """What the last line failed with; empty when it went well."""

    def __repr__(self) -> str:
        return f"<Audit {self.path} {self._size} bytes{' failing' if self.failing else ''}>"

    def caller(self, peer: Peer) -> Caller:
        """Ask the kernel who is behind a connection; before the call, since the process may be gone after it."""
        try:
            exe = os.readlink(f"/proc/{peer.pid}/exe")
        except OSError:
            exe = ""
        return Caller(uid=peer.uid, pid=peer.pid, exe=exe, agent=self._agent_of(peer.pid))

    def wants(self, name: str, call: Call | None, code: str) -> bool:
        """Tell whether a call is written: what needs write access, and every refusal. Plain reading is not."""
        if code == "not_allowed":
            return True
        return call is not None and call.access >= Access.WRITE and (name not in QUIET or code != "ok")

    def call(self, caller: Caller, name: str, args: Mapping[str, Any], code: str, result: object) -> None:
        """Write that `caller` asked for the call `name`, and what became of it (`ok`, or the error's code)."""
        target = next((args[key] for key in TARGETS if isinstance(args.get(key), str)), "")
        told = result.get("id", "") if isinstance(result, Mapping) else ""
        named = next((args[key] for key in IDS if isinstance(args.get(key), str)), told)
        entry = {"call": name, "target": target, "id": named, "code": code}
        if isinstance(form := args.get("form"), str) and form != "auto":
            entry["form"] = form
        who = {"uid": caller.uid, "pid": caller.pid, "exe": caller.exe, "agent": caller.agent}
        if code == "not_allowed":
            self._refusal((caller.uid, name), {**who, **entry})
        else:
            self._write({**who, **entry})

    def turned_away(self, uid: int, pid: int, code: str) -> None:
        """Write that a connection was refused."""
        self._refusal((uid,), {"uid": uid, "pid": pid, "call": "connect", "code": code})

    def rejected(self, what: str, *, target: str, message: str, sender: str, code: str) -> None:
        """Write that something that came from the broker was not taken."""
        entry = {"call": what, "target": target, "id": message, "sender": sender, "code": code}
        self._refusal((what, target, code), entry)

    def close(self) -> None:
        """Close the file; a later line opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _refusal(self, kind: tuple[object, ...], entry: dict[str, Any]) -> None:
        """Write the 1st, 2nd, 4th, ... of a kind: nobody pushes other lines out of the log this way."""
        if len(self._refused) >= COUNTED:
            self._refused.clear()
        count = self._refused[kind] = self._refused.get(kind, 0) + 1
        if count & (count - 1) == 0:
            self._write({**entry, "count": count})

    def _write(self, entry: dict[str, Any]) -> None:
        if self._files <= 0:
            return
        shown = {k: v[:FIELD_CHARS] if isinstance(v, str) else v for k, v in entry.items()}
        if self.lost:
            shown["lost"] = self.lost
        raw = json.dumps({"at_ms": self._clock_ms(), **shown}, separators=(",", ":")).encode() + b"\n"
        try:
            self._make_room(len(raw))
            self._put(b"\n" + raw if self._torn else raw)
        except OSError as error:
            self._failed(error)
            return
        self.lost, self.failing = 0, ""

    def _put(self, raw: bytes) -> None:
        written = os.write(self._fd, raw)
        self._size += written
        self._torn = written < len(raw)
        if self._torn:
            raise OSError(0, "only a part of a line could be written")

    def _failed(self, error: OSError) -> None:
        self.lost += 1
        if not self.failing:
            log.warning("audit.not_written", extra={"path": self.path, "problem": error.strerror})
        self.failing = error.strerror or str(error)
        self.close()

    def _make_room(self, more: int) -> None:
        if self._fd < 0:
            self._open()
        if self._size and self._size + more > self._file_bytes:
            self.close()
            for number in range(self._files - 1, 0, -1):
                source = f"{self.path}.{number - 1}" if number > 1 else self.path
                with contextlib.suppress(FileNotFoundError):
                    os.replace(source, f"{self.path}.{number}")
            if self._files == 1:
                os.unlink(self.path)
            self._open()

    def _open(self) -> None:
        """Open the file to append, 0600; a link, or what is not a file of our own, is refused."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(self.path, flags, 0o600)
        try:
            found = os.fstat(fd)
            _own(found)
            if stat.S_IMODE(found.st_mode) != 0o600:
                os.fchmod(fd, 0o600)
            self._size = found.st_size
            self._torn = found.st_size > 0 and os.pread(fd, 1, found.st_size - 1) != b"\n"
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd


def _own(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_nlink != 1:
        raise OSError(0, "it is no file of the daemon's own")
