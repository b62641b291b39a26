"""The socket itself: who made it, what stands in its place, who takes it over."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nova_torch.errors import (
    ConfigInvalid,
    Conflict,
    DaemonUnreachable,
    StoreFailed,
)
from nova_torch.protocol.client import Client
from noval_d.control.lock import listen
from noval_d.control.peers import Permissions
from tests.support.aio import run
from tests.support.control import serving, short_directory

OWNER = Permissions.of()


@pytest.fixture
def place() -> Iterator[Path]:
    with short_directory() as directory:
        yield Path(directory)


def test_the_socket_is_for_its_owner_alone() -> None:
    async def scene() -> None:
        before = os.umask(0)
        try:
            async with serving() as server:
                assert stat.S_IMODE(os.lstat(server.path).st_mode) == 0o600
                assert os.umask(0) == 0
        finally:
            os.umask(before)

    run(scene())


def test_a_reading_group_gets_into_the_file_mode(place: Path) -> None:
    listener = listen(str(place / "c"), Permissions(owner=os.geteuid(), reading_group=os.getgid()))
    try:
        found = os.lstat(place / "c")
        assert stat.S_IMODE(found.st_mode) == 0o660
        assert found.st_gid == os.getgid()
    finally:
        listener.close()


def test_a_stale_socket_is_replaced(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place / "c"))
    with pytest.raises(DaemonUnreachable, match="the socket is left over from one that died"):
        Client.connect(place / "c")
    listen(str(place / "c"), OWNER).close()
    assert sorted(os.listdir(place)) == ["c.lock"]


@pytest.mark.parametrize("kind", ["directory", "file", "link"])
def test_what_is_no_socket_is_named_and_left_alone(place: Path, kind: str) -> None:
    path = place / "c"
    if kind == "directory":
        path.mkdir()
    elif kind == "file":
        path.write_text("precious")
    else:
        path.symlink_to("elsewhere")
    with pytest.raises(Conflict, match=f"a {kind} is in its place. Remove it, or set another: NOVA_SOCKET"):
        listen(str(path), OWNER)
    assert os.path.lexists(path)


def test_a_second_daemon_is_told_the_pid_of_the_first(place: Path) -> None:
    path = str(place / "c")
    program = "import sys, noval_d.control.lock as l, noval_d.control.peers as p\n"
    program += "held = l.listen(sys.argv[1], p.Permissions.of()); print('up', flush=True); sys.stdin.read()"
    argv = [sys.executable, "-c", program, path]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"up\n"
        try:
            with pytest.raises(Conflict, match=rf"another nova-torchd \(pid {first.pid}\) already serves"):
                listen(path, OWNER)
            os.unlink(f"{path}.lock")  # somebody tidied up: the dial probe still finds the first
            with pytest.raises(Conflict, match=rf"another nova-torchd \(pid {first.pid}\) already serves"):
                listen(path, OWNER)
        finally:
            first.kill()
        first.wait()
    listen(path, OWNER).close()  # killed: its lock and its socket are in nobody's way


def test_the_socket_of_a_later_daemon_is_not_removed(place: Path) -> None:
    first = listen(str(place / "c"), OWNER)
    os.unlink(place / "c")
    os.unlink(place / "c.lock")
    second = listen(str(place / "c"), OWNER)
    first.close()
    assert (place / "c").exists()
    second.close()
    assert not (place / "c").exists()


def test_a_path_that_cannot_be_is_said_to_be_so(place: Path) -> None:
    with pytest.raises(ConfigInvalid, match="longer than 107 bytes"):
        listen(str(place / ("x" * 120)), OWNER)
    (place / "file").touch()
    with pytest.raises(StoreFailed, match="cannot use"):
        listen(str(place / "file" / "c"), OWNER)


def test_a_socket_from_systemd_is_served_and_left_in_place(place: Path) -> None:
    program = """if True:
        import asyncio, os, socket, sys
        given = socket.socket(socket.AF_UNIX); given.bind(sys.argv[1]); given.listen()
        os.dup2(given.fileno(), 3, inheritable=True)
        os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="control")
        from noval_d.control.server import ControlServer
        from noval_d.control.peers import Permissions
        from tests.support.control import Desk
        from nova_torch.protocol.aclient import AsyncClient
        async def main():
            async with ControlServer("/elsewhere/c", Desk().calls(), Permissions.of()) as server:
                async with await AsyncClient.connect(sys.argv[1]) as client:
                    print(server.path, (await client.call("ping"))["access"], "LISTEN_FDS" in os.environ)
        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", program, str(place / "c")],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.split() == [str(place / "c"), "WRITE", "False"]
    assert (place / "c").exists()
