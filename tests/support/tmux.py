"""A private tmux server for a test, with what a test does to a server: stop it, let it go on, kill it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator

import pytest

from noval_d.tmux.control import ControlClient, TmuxSocket
from tests.lab.tmux import PrivateTmux

HIDDEN = "_nova-test"


@pytest.fixture
def tmux() -> Iterator[PrivateTmux]:
    """A tmux server of the test's own; it starts with the first pane."""
    with PrivateTmux.create() as server:
        yield server


def socket_of(server: PrivateTmux) -> TmuxSocket:
    return TmuxSocket(path=str(server.socket_path))


def pid_of(server: PrivateTmux) -> int:
    return int(server.tmux("display-message", "-p", "#{pid}"))


@contextlib.asynccontextmanager
async def connected(server: PrivateTmux, *, session: str = HIDDEN) -> AsyncIterator[ControlClient]:
    """A control client, closed at the end."""
    client = await ControlClient.connect(socket_of(server), session=session)
    try:
        yield client
    finally:
        await client.close()


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop a process; it goes on at the end."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def runs(pid: int) -> bool:
    """True when the process exists and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
