"""Fixtures of a real broker: one server for each worker of the suite, a prefix of its own for each test.

Every command that the suite sends to them is captured and held against DragonflyDB's list (capture.py), also
those inside scripts. A test that starts a whole node with an embedded broker attaches `capture_commands`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from nova_torch.broker import Broker, EmbeddedBroker
from tests.support.aio import run
from tests.support.capture import ask, capture_commands

__all__ = [
    "Site",
    "ask",
    "broker_server",
    "capture_commands",
    "own_site",
    "running_server",
    "short_directory",
    "site",
    "uncaptured_server",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A running server and a prefix that nobody else uses."""

    server: EmbeddedBroker
    prefix: str

    async def connect(self, *, url: str | None = None, timeout_s: float = 5.0) -> Broker:
        """Return a new connection to it, or through `url`."""
        return await Broker.connect(url or self.server.url, prefix=self.prefix, timeout_s=timeout_s)

    async def blocked(self) -> None:
        """Return when one client of the server waits in a blocking command."""
        while "blocked_clients:1" not in self.ask("INFO", "clients").decode():  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    def ask(self, *words: str) -> bytes:
        """Send a command past the project's own code."""
        return ask(self.server.socket_path, *words)


@contextlib.contextmanager
def short_directory() -> Iterator[str]:
    """Make a directory whose path is short enough for sockets."""
    directory = tempfile.mkdtemp(prefix="nb-")
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def running_server() -> Iterator[EmbeddedBroker]:
    """Run a server in a directory of its own."""
    with short_directory() as directory:
        server = run(EmbeddedBroker.start(directory))
        try:
            yield server
        finally:
            run(server.stop(), timeout_s=60)


@pytest.fixture(scope="session")
def broker_server() -> Iterator[EmbeddedBroker]:
    """The server of this worker."""
    with running_server() as server, capture_commands(server.socket_path):
        yield server


@pytest.fixture
def site(broker_server: EmbeddedBroker) -> Site:
    """The worker's server under a prefix of this test."""
    return Site(server=broker_server, prefix=f"t{secrets.token_hex(4)}")


@pytest.fixture
def uncaptured_server() -> Iterator[EmbeddedBroker]:
    """A server on which a test may send what DragonflyDB does not have."""
    with running_server() as server:
        yield server


@pytest.fixture
def own_site() -> Iterator[Site]:
    """A server of this test alone, to be stopped, wiped or killed."""
    with running_server() as server, capture_commands(server.socket_path):
        yield Site(server=server, prefix="own")
