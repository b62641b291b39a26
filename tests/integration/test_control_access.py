"""Who may use the control socket, as the kernel names them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from nova_torch.errors import (
    Busy,
    ConfigInvalid,
    NotAllowed,
)
from nova_torch.protocol.aclient import AsyncClient
from nova_torch.protocol.client import Client
from noval_d.control.calls import Access, Limits
from noval_d.control.peers import Credentials, Permissions, read_credentials
from noval_d.control.server import ControlServer
from tests.support.aio import run
from tests.support.control import Desk, run_on, serving

OWNER = Permissions.of()
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def in_thread(server: ControlServer, program: Callable[[str], Any]) -> Coroutine[Any, Any, Any]:
    return asyncio.to_thread(program, server.path)


def someone(uid: int, *groups: int) -> Callable[[socket.socket], Credentials]:
    return lambda _: Credentials(pid=1, uid=uid, gid=uid, groups=frozenset(groups))


def test_the_groups_of_a_peer_come_from_the_kernel() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        who = read_credentials(ours)
    assert (who.pid, who.uid, who.gid) == (os.getpid(), os.getuid(), os.getgid())
    assert who.groups == {*os.getgroups(), os.getgid()}


@pytest.mark.parametrize(
    ("uid", "groups", "access"),
    [
        (1000, (), Access.WRITE),
        (0, (), Access.WRITE),
        (1001, (), Access.WRITE),
        (1002, (70,), Access.READ),
        (1000, (70,), Access.WRITE),
        (1002, (71,), None),
        (70, (), Access.READ),
    ],
)
def test_permissions_follow_user_and_groups(uid: int, groups: tuple[int, ...], access: Access | None) -> None:
    may = Permissions(owner=1000, writers=frozenset({1001}), reading_group=70)
    who = Credentials(pid=1, uid=uid, gid=uid, groups=frozenset(groups))
    if access is None:
        with pytest.raises(NotAllowed, match="user 1002 may not use this daemon"):
            may.admit(who)
    else:
        assert may.admit(who).access is access


def test_names_of_the_configuration_must_exist() -> None:
    assert Permissions.of(["root"], "root") == Permissions(
        owner=os.geteuid(), writers=frozenset({0}), reading_group=0
    )
    with pytest.raises(ConfigInvalid, match=r"there is no user 'roto'\. Did you mean root\?"):
        Permissions.of(["roto"])
    with pytest.raises(ConfigInvalid, match="there is no group 'roto'"):
        Permissions.of((), "roto")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_stranger_is_refused_with_a_reason(loop: str) -> None:
    def light(path: str) -> None:
        with pytest.raises(NotAllowed, match="user 54321 may not use this daemon"):
            Client.connect(path)

    async def scene() -> None:
        may = Permissions(owner=4242)
        async with serving(may=may, credentials=someone(54321)) as server:
            for _ in range(20):  # the daemon closes while the client still says hello: any order will do
                await in_thread(server, light)
                with pytest.raises(NotAllowed, match="user 54321 may not use this daemon"):
                    await AsyncClient.connect(server.path)
            assert server.refused == 40

    run_on(loop, scene())


def test_a_reader_reads_and_does_not_write() -> None:
    def program(path: str) -> None:
        with Client.connect(path) as client:
            assert client.call("ping")["access"] == "READ"
            with pytest.raises(NotAllowed, match="echo needs write access"):
                client.call("echo", {"body": "x"})
            assert client.call("ping")

    async def scene() -> None:
        desk, may = Desk(), Permissions(owner=4242, reading_group=70)
        async with serving(desk, may=may, credentials=someone(54321, 70)) as server:
            await in_thread(server, program)
        assert desk.seen == ["ping", "ping"]

    run(scene())


def test_readers_cannot_lock_out_the_owner() -> None:
    async def scene() -> None:
        may = Permissions(owner=4242, reading_group=70)
        limits = Limits(connections=4, reader_connections=2)
        come = iter([54321, 54321, 54321, 4242])

        def in_turn(sock: socket.socket) -> Credentials:
            return someone(next(come), 70)(sock)

        async with serving(may=may, limits=limits, credentials=in_turn) as server:
            held = [await AsyncClient.connect(server.path) for _ in range(2)]
            with pytest.raises(Busy):
                await AsyncClient.connect(server.path)
            async with await AsyncClient.connect(server.path) as owner:
                assert (await owner.call("ping"))["access"] == "WRITE"
            for client in held:
                await client.close()

    run(scene())


STRANGER = """if True:
    import os, sys
    from nova_torch.errors import NovaError
    from nova_torch.protocol.client import Client
    import _socket, encodings.idna
    os.setgroups([int(g) for g in sys.argv[2].split(",") if g]); os.setgid(65534); os.setuid(65534)
    try:
        with Client.connect(sys.argv[1]) as client:
            print(client.call("ping"))
    except NovaError as error:
        print(error.code, error)
"""


async def as_nobody(path: str, groups: str = "") -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STRANGER, path, groups, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return out.decode()


@contextlib.asynccontextmanager
async def reachable(may: Permissions, *, mode: int | None = None) -> AsyncIterator[ControlServer]:
    """Run a server whose directory other users can enter."""
    async with serving(may=may) as server:
        os.chmod(os.path.dirname(server.path), 0o755)
        if mode is not None:
            os.chmod(server.path, mode)
        yield server


@AS_ROOT
def test_another_user_of_this_machine_is_kept_out() -> None:
    async def scene() -> None:
        async with reachable(OWNER) as server:
            assert "permission denied" in await as_nobody(server.path)
            os.chmod(server.path, 0o666)  # somebody opened the file: the credentials still decide
            said = await as_nobody(server.path)
            assert said.startswith("not_allowed")
            assert "(65534) may not use this daemon" in said

    run(scene())


@AS_ROOT
def test_a_supplementary_group_of_another_user_lets_it_read() -> None:
    async def scene() -> None:
        async with reachable(Permissions(owner=0, reading_group=4711)) as server:
            assert await as_nobody(server.path, "4711,12") == "{'uid': 65534, 'access': 'READ'}\n"
            assert "permission denied" in await as_nobody(server.path, "12")

    run(scene())


@AS_ROOT
def test_a_configured_user_writes() -> None:
    async def scene() -> None:
        async with reachable(Permissions(owner=0, writers=frozenset({65534}))) as server:
            assert await as_nobody(server.path) == "{'uid': 65534, 'access': 'WRITE'}\n"

    run(scene())


def test_a_writer_that_asks_to_be_shown_what_readers_are_is_a_reader_on_that_connection() -> None:
    def asked(path: str) -> None:
        with Client.connect(path, reading=True) as reader, Client.connect(path) as writer:
            assert (reader.access, writer.access) == ("read", "write")
            assert reader.call("ping")["access"] == "READ"
            with pytest.raises(NotAllowed, match="echo needs write access"):
                reader.call("echo", {"text": "x"})
            assert writer.call("ping")["access"] == "WRITE"
            writer.call("echo", {"text": "x"})

    async def served() -> None:
        async with serving() as server:
            await in_thread(server, asked)

    run(served())
