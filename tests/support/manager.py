"""The side of systemd: a socket that hears what a service says of itself."""

from __future__ import annotations

import contextlib
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

TOLD_S = 20.0


class Manager:
    """Hears a service. `address` is for its NOTIFY_SOCKET: a path, or a name (`@…`) without a file."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._heard.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._heard.settimeout(TOLD_S)

    def hear(self) -> list[str]:
        """The next message's lines; a STATUS alone and the food of the watchdog are passed over."""
        while True:
            lines = self.any()
            if not lines[0].startswith(("STATUS=", "WATCHDOG=")):
                return lines

    def any(self) -> list[str]:
        """The next message's lines."""
        return self._heard.recv(4096).decode().splitlines()

    def status(self, word: str) -> str:
        """Wait until the STATUS line holds `word`; return the line."""
        while True:
            for line in self.any():
                if line.startswith("STATUS=") and word in line:
                    return line.removeprefix("STATUS=")

    def drain(self) -> list[str]:
        """Everything that was said up to now."""
        lines: list[str] = []
        self._heard.setblocking(False)
        try:
            while True:
                lines += self.any()
        except BlockingIOError:
            return lines
        finally:
            self._heard.settimeout(TOLD_S)

    def fed(self, seconds: float) -> bool:
        """Whether the watchdog is fed within so long from now."""
        self.drain()
        end = time.monotonic() + seconds
        try:
            while (left := end - time.monotonic()) > 0:
                self._heard.settimeout(left)
                if "WATCHDOG=1" in self.any():
                    return True
        except TimeoutError:
            pass
        finally:
            self._heard.settimeout(TOLD_S)
        return False

    def close(self) -> None:
        self._heard.close()


@contextlib.contextmanager
def manager(*, abstract: bool = False) -> Iterator[Manager]:
    """Give a manager that listens in a file, or in the abstract name space."""
    with tempfile.TemporaryDirectory(prefix="nv", dir="/tmp") as directory:
        address = f"@nova-torch-{secrets.token_hex(8)}" if abstract else str(Path(directory) / "notify")
        made = Manager(address)
        try:
            yield made
        finally:
            made.close()
