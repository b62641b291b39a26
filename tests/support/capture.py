"""Capture every command a test server runs (MONITOR), and hold it against DragonflyDB's list.

    with capture_commands(path_of_the_servers_socket):
        ...  # anything; a command outside the list is an AssertionError at the end

The server may restart under it. What MONITOR does not show (administrative commands) comes from the counters
of INFO commandstats.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator

from tests.support.commands import Checker

_LINE = re.compile(r"\+[\d.]+ \[\d+ ([^\]]+)\] (.*)", re.DOTALL)
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_STAT = re.compile(r"^cmdstat_([^:]+):calls=(\d+)", re.MULTILINE)
LIMIT_S = 10.0


class Capture:
    """Commands seen on one server. `seen` are their names, `problems` what breaks the list."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.seen: set[str] = set()
        self.problems: set[str] = set()
        self._checker = Checker()
        self._before: dict[str, int] = {}
        self._token = secrets.token_hex(8)
        self._attached = threading.Event()
        self._finished = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="capture", daemon=True)

    def start(self) -> None:
        """Attach to the server; return when it reports."""
        self._thread.start()
        assert self._attached.wait(LIMIT_S), f"no server answers on {self.path}"
        self._before = self._counters()  # a fresh Valkey has asked itself for its configuration

    def stop(self) -> None:
        """See everything that was sent before this call, then detach. A server that is gone is fine."""
        with contextlib.suppress(OSError):
            deadline = time.monotonic() + LIMIT_S
            while time.monotonic() < deadline:  # again when a test has just killed our connection
                ask(self.path, "PING", self._token)
                if self._finished.wait(0.2):
                    break
            for name, calls in self._counters().items():
                if calls > self._before.get(name, 0):
                    self._take_admin(name)
        self._stop.set()
        self._thread.join(LIMIT_S)

    def verify(self) -> None:
        """Raise AssertionError when something was sent that DragonflyDB does not have."""
        assert not self.problems, "commands outside tests/support/dragonfly_commands.toml:\n  " + "\n  ".join(
            sorted(self.problems)
        )

    def _watch(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(OSError), _dial(self.path) as dial:
                dial.sendall(_packed("MONITOR"))
                self._read(dial)
            self._stop.wait(0.02)

    def _read(self, dial: socket.socket) -> None:
        dial.settimeout(0.1)
        rest = b""
        while not self._stop.is_set():
            try:
                piece = dial.recv(262144)
            except TimeoutError:
                continue
            if not piece:
                return
            if b"\r\n" not in piece and rest:
                rest += piece
                continue
            *lines, rest = (rest + piece).split(b"\r\n")
            for line in lines:
                self._line(line.decode("latin-1"))

    def _line(self, line: str) -> None:
        if line == "+OK":
            self._attached.set()
        elif match := _LINE.match(line):
            words = _WORD.findall(match[2])
            if words == ["PING", self._token]:
                self._finished.set()
            elif words:
                self._take(words, in_script=match[1] == "lua")

    def _counters(self) -> dict[str, int]:
        stats = ask(self.path, "INFO", "commandstats").decode(errors="replace")
        return {name: int(calls) for name, calls in _STAT.findall(stats)}

    def _take_admin(self, counter: str) -> None:
        words = counter.upper().split("|")
        if not self._checker.knows(words):
            self.problems.add(self._checker.check(words) or counter)

    def _take(self, words: list[str], *, in_script: bool) -> None:
        self.seen.add(words[0].upper())
        try:
            problem = self._checker.check(words, in_script=in_script)
        except (IndexError, ValueError) as error:
            problem = f"{' '.join(words)[:200]}: cannot be read ({error})"
        if problem:
            self.problems.add(problem)

    def __repr__(self) -> str:
        return f"<Capture {self.path} {len(self.seen)} commands, {len(self.problems)} problems>"


@contextlib.contextmanager
def capture_commands(unix_socket_path: str) -> Iterator[Capture]:
    """Capture what a server runs within the block, and fail when DragonflyDB would not run it."""
    capture = Capture(unix_socket_path)
    capture.start()
    try:
        yield capture
    finally:
        capture.stop()
    capture.verify()


def ask(path: str, *words: str) -> bytes:
    """Send one command on a connection of its own and return the first piece of the raw reply."""
    with _dial(path) as dial:
        dial.sendall(_packed(*words))
        reply = dial.recv(65536)
        if reply.startswith(b"$") and not reply.startswith(b"$-1"):
            header, _, body = reply.partition(b"\r\n")
            while len(body) < int(header[1:]) + 2:
                piece = dial.recv(65536)
                assert piece, "the server hung up"
                body += piece
            return body[:-2]
        return reply


def _dial(path: str) -> socket.socket:
    dial = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    dial.settimeout(LIMIT_S)
    try:
        dial.connect(path)
    except OSError:
        dial.close()
        raise
    return dial


def _packed(*words: str) -> bytes:
    packed = [word.encode() for word in words]
    return b"*%d\r\n" % len(packed) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in packed)
