"""Ask a Unix socket whether a broker answers there and which process it is; ask that one to end."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from enum import Enum, auto

from nova_torch.broker.server_info import parse_info

_ASK = b"*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n"
_SHUT_DOWN = b"*1\r\n$8\r\nSHUTDOWN\r\n"
_MOST_BYTES = 64 * 1024


class Answer(Enum):
    """What a dial of the socket met."""

    ABSENT = auto()
    """No socket there, or a stale one that nobody listens on."""
    SILENT = auto()
    """Somebody listens and says nothing in time: stopped, or at its limits."""
    LOADING = auto()
    """A server that still reads its data."""
    READY = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The answer, the pid of the listener (0 when unknown) and the kind of server ("" when unknown)."""

    answer: Answer
    pid: int = 0
    kind: str = ""


def probe(path: str, *, timeout_s: float) -> Probe:
    """Dial `path`. Takes at most about `timeout_s`; the pid comes from the kernel, not from a file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dial:
        dial.settimeout(timeout_s)
        try:
            dial.connect(path)
        except TimeoutError:
            return Probe(answer=Answer.SILENT)
        except OSError:
            return Probe(answer=Answer.ABSENT)
        pid = _listener(dial)
        try:
            dial.sendall(_ASK)
            said = _until_info(dial)
        except OSError:
            return Probe(answer=Answer.SILENT, pid=pid)
    if said.startswith(b"-LOADING"):
        return Probe(answer=Answer.LOADING, pid=pid)
    kind = parse_info(said.decode(errors="replace")).kind if said.startswith(b"+PONG") else ""
    return Probe(answer=Answer.READY, pid=pid, kind=kind)


def shut_down(path: str, pid: int, *, timeout_s: float) -> bool:
    """Ask process `pid`, if it is what listens on `path`, to save its data and end. True when asked."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dial:
        dial.settimeout(timeout_s)
        try:
            dial.connect(path)
            if _listener(dial) != pid:
                return False
            dial.sendall(_SHUT_DOWN)
            dial.recv(256)  # the end of the connection, or an error that SIGTERM will not mind
        except OSError:
            return False
    return True


def _listener(dial: socket.socket) -> int:
    """Return the pid of the process that listens (it, not a child, called listen)."""
    raw = dial.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", raw)[0])


def _until_info(dial: socket.socket) -> bytes:
    """Read until the reply to INFO is complete, or an error came in its place."""
    said = b""
    while len(said) < _MOST_BYTES:
        piece = dial.recv(16384)
        if not piece:
            return said
        said += piece
        first, _, rest = said.partition(b"\r\n")
        if not first.startswith(b"+") and rest.count(b"\r\n"):
            return said
        header, _, body = rest.partition(b"\r\n")
        if header.startswith(b"-"):
            return said
        if header.startswith(b"$") and header[1:].isdigit() and len(body) >= int(header[1:]):
            return said
    return said
