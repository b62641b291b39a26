"""A port is known by the socket that its process holds, and by nothing else."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys

import pytest

from noval_d.api.http import ApiFailed, EventReader, Request, ask
from noval_d.api.ports import listeners, listening, port_named, variable

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def row(address: str, port: int, state: str, inode: int) -> str:
    return f"   0: {address}:{port:04X} 00000000:0000 {state} 0:0 00:0 0 0 0 {inode} 1\n"


def test_only_what_listens_on_the_loopback_alone_is_found() -> None:
    table = HEAD + row("0100007F", 80, "0A", 1) + row("00000000", 81, "0A", 2) + row("0100007F", 82, "01", 3)
    assert listeners(table) == {80: 1}


def test_a_port_that_two_sockets_share_is_nobodys() -> None:
    assert listeners(HEAD + row("0100007F", 80, "0A", 1) + row("00000000", 80, "0A", 2)) == {}
    assert listeners(HEAD + row("0100007F", 80, "0A", 1) + row("0100007F", 80, "0A", 2)) == {}


def test_a_process_is_found_at_its_own_port_as_long_as_it_holds_it() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        port = one.getsockname()[1]
        (found,) = [each for each in listening(os.getpid()) if each.port == port]
        held = [found.held]
    assert [*held, found.held] == [True, False]
    assert port not in [each.port for each in listening(os.getpid())]


def test_another_process_has_not_the_ports_of_this_one() -> None:
    with socket.socket() as one, subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1) as other:
        one.bind(("127.0.0.1", 0))
        one.listen()
        assert listening(other.pid) == []
        assert other.stdin is not None
        other.stdin.close()


def test_a_process_that_is_gone_listens_nowhere() -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    assert listening(ended.pid) == []
    assert variable(ended.pid, "PATH") is None


@pytest.mark.parametrize(
    ("words", "port"),
    [
        ("opencode --port 4097", 4097),
        ("opencode --port=4097 -c", 4097),
        ("opencode --port 0", None),
        ("opencode --port", None),
        ("opencode --port x", None),
        ("opencode --portal 5", None),
        ("opencode", None),
    ],
)
def test_the_port_of_a_command_line(words: str, port: int | None) -> None:
    assert port_named(words.split(), "--port") == port


def test_a_variable_of_a_process_is_read_as_it_was_given() -> None:
    environment = {"SECRET": "a=b c", "SECRETS": "no"}
    with subprocess.Popen(
        [sys.executable, "-c", "print(1, flush=True); input()"], stdin=-1, stdout=-1, env=environment
    ) as one:
        assert one.stdout is not None
        assert one.stdin is not None
        one.stdout.readline()
        assert variable(one.pid, "SECRET") == "a=b c"
        assert variable(one.pid, "OTHER") is None
        one.stdin.close()


def test_events_are_put_together_from_any_pieces() -> None:
    stream = b"data: one\n\n: a comment\n\nevent: x\ndata: two\ndata: lines\n\ndata: three\n\ndata: unfini"
    for size in (1, 2, 7, 1000):
        reader = EventReader()
        found = [data for at in range(0, len(stream), size) for data in reader.take(stream[at : at + size])]
        assert found == [b"one", b"two\nlines", b"three"]


def test_an_event_that_is_too_large_is_left_out_and_the_next_one_is_not() -> None:
    reader = EventReader(max_bytes=100)
    found = [data for _ in range(50) for data in reader.take(b"data: " + b"x" * 60)]
    assert found == []
    assert reader.take(b"\n\ndata: next\n\n") == [b"next"]


def test_a_piece_whose_length_has_no_end_is_no_answer() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 200_000)
        await writer.drain()
        writer.close()

    async def asked() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            await ask(port, Request("GET", "/"), owner=lambda: True, within_s=5.0, max_bytes=1 << 20)

    with pytest.raises(ApiFailed):
        asyncio.run(asked())
