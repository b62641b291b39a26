"""Real servers of a test's own on loopback ports: passwords, replicas, snapshots; stopped and started again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nova_torch.broker.address import parse_address
from nova_torch.broker.connection import Link
from nova_torch.broker.servers import find_server
from nova_torch.broker.wires import Word
from nova_torch.errors import BrokerUnavailable
from nova_torch.login import Login
from tests.support.aio import run
from tests.support.node import until

PASSWORD = "one-long-password-of-the-tests"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class OwnServer:
    """One server: its directory, its port, its administrator's connection (`ask`)."""

    folder: Path
    port: int
    options: Sequence[str] = ()
    password: str = PASSWORD
    binary: str = ""
    process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        """Start it with its data; return when its port answers, if only that it still loads."""
        words = [
            find_server().binary,
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(self.folder),
        ]
        words += ["--save", "", "--appendonly", "no", "--requirepass", self.password]
        words += ["--masterauth", self.password, "--enable-protected-configs", "yes", "--logfile", "log"]
        self.process = subprocess.Popen(
            [*words, *self.options, *more],
            executable=self.binary or find_server().binary,
            stdin=subprocess.DEVNULL,
        )
        until(self._open, 10, "the server's port")

    def _open(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def ask(self, *words: Word, user: str = "default") -> Any:
        """Ask as the administrator, or as another user; the raw reply. Raises BrokerUnavailable for a refusal."""

        async def asked() -> Any:
            link = Link(parse_address(self.url_of(user), Login(password=self.password)))
            try:
                return await link.command(*words)
            finally:
                await link.close()

        return run(asked())

    def url_of(self, user: str) -> str:
        return f"redis://{user}@127.0.0.1:{self.port}"

    def told(self, section: str, name: str) -> str:
        """Return one value of INFO, empty while it does not answer."""
        with contextlib.suppress(BrokerUnavailable):
            lines = self.ask("INFO", section).decode().splitlines()
            return str(dict(line.split(":", 1) for line in lines if ":" in line).get(name, ""))
        return ""

    def saved(self) -> bytes:
        """Save the data, and return what was saved."""
        self.ask("SAVE")
        return (self.folder / "dump.rdb").read_bytes()

    def kill_clients(self) -> None:
        """End every connection but our own."""
        self.ask("CLIENT", "KILL", "TYPE", "normal")
        with contextlib.suppress(BrokerUnavailable):
            self.ask("CLIENT", "KILL", "TYPE", "pubsub")

    def kill(self) -> None:
        """kill -9, of a stopped one too."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)


@contextlib.contextmanager
def own_server(*options: str, binary: str = "") -> Iterator[OwnServer]:
    """Run a server of this test, of `binary` if that is given; leave nothing behind."""
    folder = Path(tempfile.mkdtemp(prefix="nova-s-", dir="/tmp"))
    server = OwnServer(folder, free_port(), options, binary=binary)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running_sentinel(folder: Path, lines: str) -> Iterator[int]:
    """Run a Sentinel with these lines; gives its port, when it answers."""
    port = free_port()
    file = folder / f"sentinel-{port}.conf"
    file.write_text(f"port {port}\nbind 127.0.0.1\ndir {folder}\n{lines}")
    words = ["valkey-sentinel", str(file), "--sentinel"]
    with (
        open(folder / f"sentinel-{port}.log", "wb") as log,
        subprocess.Popen(words, executable=find_server().binary, stdout=log, stderr=log) as process,
    ):
        try:
            until(lambda: OwnServer(folder, port, password="").told("sentinel", "sentinel_masters"), 45, "it")
            yield port
        finally:
            process.kill()
