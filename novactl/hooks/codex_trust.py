"""Ask Codex itself whether it trusts our hooks, and tell it so: over the protocol of its own `app-server`.

Codex runs a hook only if its configuration holds the hook's hash. Only Codex knows how it is made, so it is asked
for it, and writes it itself, as when a person trusts a hook in its `/hooks`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from novactl.hooks.merge import is_ours

LIMIT_S = 20.0  # it answers within a second; a busy machine may take longer
END_S = 5.0


class TrustError(Exception):
    """Codex could not be asked; says why."""


class AppServer:
    """One `codex app-server` on a pair of pipes; use it in a `with`. Raises TrustError."""

    def __init__(self, binary: str, home: str) -> None:
        self._binary, self._home = binary, home
        self._until = time.monotonic() + LIMIT_S
        self._calls = 0
        self._rest = b""

    def __enter__(self) -> Self:
        try:
            self._process = subprocess.Popen(
                [self._binary, "app-server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=os.sep,  # outside any project, whose own hooks are none of ours
                env={**os.environ, "CODEX_HOME": self._home},
            )
        except OSError as error:
            raise TrustError(f"{self._binary} does not run: {error.strerror}") from None
        try:
            self.call("initialize", {"clientInfo": {"name": "novactl", "version": "2"}})
            self._send({"method": "initialized"})
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def call(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the result of one call."""
        self._calls += 1
        self._send({"id": self._calls, "method": method, "params": params})
        while True:
            answer = self._receive()
            if answer.get("id") != self._calls or "method" in answer:
                continue
            if not isinstance(answer.get("result"), dict):
                raise TrustError(f"this Codex does not answer {method}")
            result: dict[str, Any] = answer["result"]
            return result

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise TrustError("this Codex has no app-server") from None

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        while b"\n" not in self._rest:
            left = self._until - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                raise TrustError("Codex did not answer in time")
            part = os.read(pipe, 1 << 16)
            if not part:
                raise TrustError("this Codex has no app-server")
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            answer = json.loads(line)
        except ValueError:
            return {}
        return answer if isinstance(answer, dict) else {}

    def _end(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # it has ended: what was not written is of no use to it
                    pipe.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def find_codex() -> str | None:
    """Return Codex's program, None when it is not on PATH."""
    return shutil.which("codex")


def untrusted(path: str, binary: str) -> list[str]:
    """Return the events whose hook of ours in `path` Codex would not run. Raises TrustError."""
    with AppServer(binary, os.path.dirname(path)) as server:
        return [hook["eventName"] for hook in _ours(server, path) if not _runs(hook)]


def trust(path: str, binary: str) -> bool:
    """Make Codex trust our hooks in `path`, and nothing else; True when it did not before. Raises TrustError."""
    with AppServer(binary, os.path.dirname(path)) as server:
        new = [hook for hook in _ours(server, path) if hook.get("trustStatus") in {"untrusted", "modified"}]
        _write(server, {hook["key"]: {"trusted_hash": hook["currentHash"]} for hook in new})
        if any(not _runs(hook) for hook in _ours(server, path)):
            raise TrustError("Codex did not take it over")
        return bool(new)


def keys(path: str, binary: str) -> list[str]:
    """Return the names under which Codex keeps its trust in our hooks. Raises TrustError."""
    with AppServer(binary, os.path.dirname(path)) as server:
        return [hook["key"] for hook in _ours(server, path)]


def forget(path: str, binary: str, names: Iterable[str]) -> None:
    """Take away what Codex keeps about hooks that are gone. Raises TrustError."""
    with AppServer(binary, os.path.dirname(path)) as server:
        there = {hook["key"] for hook in _hooks(server, path)}
        edits = [
            {"keyPath": f"hooks.state.{json.dumps(name)}", "value": None, "mergeStrategy": "replace"}
            for name in names
            if name not in there  # another hook has moved into its place: what is kept is that one's
        ]
        if edits:
            server.call("config/batchWrite", {"edits": edits})


def _write(server: AppServer, states: Mapping[str, Any]) -> None:
    if states:
        edit = {"keyPath": "hooks.state", "value": states, "mergeStrategy": "upsert"}
        server.call("config/batchWrite", {"edits": [edit]})


def _runs(hook: Mapping[str, Any]) -> bool:
    return hook.get("trustStatus") in {"trusted", "managed"} and bool(hook.get("enabled", True))


def _ours(server: AppServer, path: str) -> list[dict[str, Any]]:
    return [hook for hook in _hooks(server, path) if is_ours(hook)]


def _hooks(server: AppServer, path: str) -> list[dict[str, Any]]:
    """Return what Codex says of the hooks in `path`."""
    listed = server.call("hooks/list", {"cwds": [os.sep]}).get("data")
    entries = listed if isinstance(listed, list) else []
    hooks = [hook for entry in entries for hook in entry.get("hooks", [])]
    real = os.path.realpath(path)
    found = [hook for hook in hooks if os.path.realpath(str(hook.get("sourcePath", ""))) == real]
    if any(not isinstance(hook.get(name), str) for hook in found for name in ("key", "currentHash")):
        raise TrustError("this Codex says nothing of its trust in hooks")
    return found
