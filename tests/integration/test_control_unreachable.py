"""What both clients say when no daemon answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from nova_torch.errors import (
    DaemonUnreachable,
)
from nova_torch.protocol.aclient import AsyncClient
from nova_torch.protocol.client import Client
from tests.support.aio import run
from tests.support.control import short_directory


@pytest.fixture
def place() -> Iterator[Path]:
    with short_directory() as directory:
        yield Path(directory)


async def both_say(path: str, *, timeout_s: float = 5.0) -> str:
    """Return what both clients say about `path`, which must be the same."""
    with pytest.raises(DaemonUnreachable) as light:
        await asyncio.to_thread(Client.connect, path, timeout_s)
    with pytest.raises(DaemonUnreachable) as full:
        await AsyncClient.connect(path, timeout_s)
    assert str(light.value) == str(full.value)
    assert light.value.exit_code == 3
    return str(light.value).removeprefix(f"cannot reach nova-torchd at {path}: ")


def test_clients_say_why_nobody_answers(place: Path) -> None:
    path = str(place / "c")

    async def scene() -> None:
        assert await both_say(path) == "not running. Start it: novactl up"
        assert (await both_say(str(place))).startswith("it is a directory, not a socket. Name another")
        (place / "file").touch()
        assert (await both_say(str(place / "file"))).startswith("it is a file, not a socket.")
        assert (await both_say(str(place / "file" / "c"))).startswith("no such path")
        assert (await both_say(str(place / ("x" * 200)))).startswith("the path has ")
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(path)
            assert (await both_say(path)).startswith("not running (the socket is left over")
            silent.listen(8)
            assert (await both_say(path, timeout_s=0.2)).startswith("it does not answer.")
        os.unlink(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.bind(path)
            assert (await both_say(path)).startswith("another program answers there.")

    run(scene())


def test_clients_recognize_a_daemon_whose_queue_is_full(place: Path) -> None:
    path = str(place / "c")

    async def scene() -> None:
        with contextlib.ExitStack() as held, socket.socket(socket.AF_UNIX) as full:
            full.bind(path)
            full.listen(1)
            for _ in range(9):
                with contextlib.suppress(BlockingIOError):
                    more = held.enter_context(socket.socket(socket.AF_UNIX))
                    more.setblocking(False)
                    more.connect(path)
            said = await both_say(path, timeout_s=0.2)
            assert said.startswith("it takes no connections (its queue is full)")

    run(scene())


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "another program answers there."),
        (b"\0\0\0\x01\x80", "another program answers there."),
        (b"\0\0\0\x03abc", "another program answers there."),
        (b"", "it closed the connection."),
    ],
)
def test_clients_recognize_what_is_no_nova_daemon(place: Path, said: bytes, sentence: str) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4)
        writer.write(said)
        writer.close()

    async def scene() -> None:
        path = str(place / "c")
        async with await asyncio.start_unix_server(other, path):
            assert (await both_say(path)).startswith(sentence)

    run(scene())
