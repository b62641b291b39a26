"""Find the loopback port on which a process itself listens, and tell whether it still does. Linux, /proc.

A port is only ever used through the socket that the process holds: whoever takes the same number later holds
another one, and is not spoken to.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LOOPBACK = "0100007F"  # 127.0.0.1 as /proc/net/tcp writes it
LISTENS = "0A"
TABLE_BYTES = 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Socket:
    """A listening socket, and the descriptor by which its process holds it."""

    pid: int
    descriptor: int
    inode: int
    port: int

    @property
    def held(self) -> bool:
        """Whether that very process still holds that very socket."""
        return _link(self.pid, str(self.descriptor)) == f"socket:[{self.inode}]"


def listening(pid: int) -> list[Socket]:
    """Return the sockets of `pid` that listen on 127.0.0.1, by port; none when it cannot be read.

    A port that another socket shares, or one of another network namespace, is none of them.
    """
    try:
        if os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net"):
            return []
        held = {link: int(fd) for fd in os.listdir(f"/proc/{pid}/fd") if (link := _link(pid, fd))}
        table = _read(f"/proc/{pid}/net/tcp")
    except OSError:
        return []
    found = [
        Socket(pid=pid, descriptor=held[link], inode=inode, port=port)
        for port, inode in listeners(table).items()
        if (link := f"socket:[{inode}]") in held
    ]
    return sorted(found, key=lambda socket: socket.port)


def listeners(table: str) -> Mapping[int, int]:
    """Return the inode of the one socket that listens at each loopback port, from the text of /proc/net/tcp."""
    found: dict[int, int] = {}
    shared: set[int] = set()
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) < 10 or words[3] != LISTENS:
            continue
        address, _, port_hex = words[1].partition(":")
        port = int(port_hex, 16)
        if port in found:
            shared.add(port)
        if address == LOOPBACK:
            found[port] = int(words[9])
    return {port: inode for port, inode in found.items() if port not in shared}


def port_named(argv: Sequence[str], option: str) -> int | None:
    """Return the port that a command line names (`--port N`, `--port=N`); None when it names none, or 0."""
    words = iter(argv)
    for word in words:
        name, equals, value = word.partition("=")
        if name != option:
            continue
        value = value if equals else next(words, "")
        return int(value) or None if value.isascii() and value.isdigit() and len(value) < 6 else None
    return None


def variable(pid: int, name: str) -> str | None:
    """Return a variable of the environment that a process of this user was started with."""
    try:
        entries = _read(f"/proc/{pid}/environ").split("\0")
    except OSError:
        return None
    start = f"{name}="
    return next((entry[len(start) :] for entry in entries if entry.startswith(start)), None)


def _link(pid: int, descriptor: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/fd/{descriptor}")
    except OSError:
        return ""


def _read(path: str) -> str:
    with open(path, "rb") as file:
        return file.read(TABLE_BYTES).decode("utf-8", "replace")
