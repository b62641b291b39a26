"""What the control server does with a client that is slow, silent, greedy or wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import pytest

from nova_torch.errors import Busy
from nova_torch.protocol.aclient import AsyncClient
from nova_torch.protocol.client import Client
from nova_torch.protocol.frames import pack
from noval_d.control.calls import Limits
from tests.support.control import Desk, Raw, run_on, serving, until

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    return lambda coro: run_on(request.param, coro)


async def gone(raw: Raw) -> None:
    assert await raw.hear() is None


def test_a_connection_that_says_nothing_is_closed(run: Run) -> None:
    async def scene() -> None:
        async with serving(limits=Limits(hello_s=0.1)) as server, Raw.open(server, greet=False) as raw:
            assert await raw.hear_code() == "timed_out"
            await gone(raw)

    run(scene())


def test_half_a_hello_does_not_hold_the_connection(run: Run) -> None:
    async def scene() -> None:
        async with serving(limits=Limits(hello_s=0.1)) as server, Raw.open(server, greet=False) as raw:
            raw.writer.write(b"\0\0")
            assert await raw.hear_code() == "timed_out"
            await gone(raw)

    run(scene())


def test_the_rest_of_a_frame_must_come_in_time_however_it_trickles(run: Run) -> None:
    async def scene() -> None:
        async with serving(limits=Limits(frame_s=0.2)) as server, Raw.open(server) as raw:
            trickle = asyncio.create_task(_trickle(raw))
            assert await raw.hear_code() == "timed_out"
            await gone(raw)
            trickle.cancel()

    async def _trickle(raw: Raw) -> None:
        for byte in pack({"id": 1, "call": "ping", "args": {"pad": "x" * 1000}}):
            raw.writer.write(bytes((byte,)))
            await asyncio.sleep(0.02)

    run(scene())


def test_whole_frames_in_a_row_are_not_one_slow_frame(run: Run) -> None:
    async def scene() -> None:
        async with serving(limits=Limits(frame_s=1.0)) as server, Raw.open(server) as raw:
            frame = pack({"id": 1, "call": "ping"})
            raw.writer.write(frame[:7])
            for _ in range(8):  # never without a partial frame, for longer than one may take
                await asyncio.sleep(0.2)
                raw.writer.write(frame[7:] + frame[:7])
                assert (await raw.hear() or {})["id"] == 1

    run(scene())


def test_an_idle_connection_is_closed_and_one_at_work_is_not(run: Run) -> None:
    async def scene() -> None:
        desk = Desk()
        limits = Limits(idle_s=0.6)
        async with serving(desk, limits=limits) as server, AsyncExitStack() as stack:
            idle, calling, watching = [await stack.enter_async_context(Raw.open(server)) for _ in range(3)]
            calling.say({"id": 1, "call": "wait"})
            watching.say({"id": 1, "call": "watch", "more": True})
            await watching.hear()
            assert await idle.hear_code() == "timed_out"
            await gone(idle)
            desk.gate.set()
            assert await calling.hear() == {"id": 1, "ok": "waited"}
            assert await calling.hear_code() == "timed_out"
            desk.hub.publish(1)
            assert (await watching.hear() or {})["ok"] == [1, ""]

    run(scene())


def test_a_client_that_does_not_read_its_answer_is_cut_off(run: Run) -> None:
    async def scene() -> None:
        desk = Desk()
        async with serving(desk, limits=Limits(write_s=0.2)) as server, Raw.open(server) as raw:
            raw.reader._limit = 1  # type: ignore[attr-defined]  # the test's own end stops reading early
            raw.say({"id": 1, "call": "watch", "more": True})
            raw.say({"id": 2, "call": "large", "args": {"bytes": 4 << 20}})
            await desk.closed.wait()
            await until(lambda: server.connections == 0)

    run(scene())


def test_a_client_that_reads_slowly_but_steadily_is_served(run: Run) -> None:
    async def scene() -> None:
        async with serving(limits=Limits(write_s=2.0)) as server, Raw.open(server) as raw:
            for number in range(6):
                raw.say({"id": number, "call": "large", "args": {"bytes": 1 << 20}})
            for number in range(6):  # longer together than one frame may take
                await asyncio.sleep(0.5)
                assert (await raw.hear() or {})["id"] == number

    run(scene())


def test_the_connection_after_the_last_one_is_told_that_the_daemon_is_busy(run: Run) -> None:
    def light(path: str) -> None:
        with pytest.raises(Busy, match="serves 64 connections"):
            Client.connect(path)

    async def scene() -> None:
        async with serving() as server, AsyncExitStack() as stack:
            held = [await stack.enter_async_context(Raw.open(server)) for _ in range(64)]
            async with Raw.open(server, greet=False) as raw:
                assert await raw.hear_code() == "busy"
                await gone(raw)
            await asyncio.to_thread(light, server.path)
            with pytest.raises(Busy):
                await AsyncClient.connect(server.path)
            held[0].writer.close()
            await until(lambda: server.connections < 64)
            async with await AsyncClient.connect(server.path) as client:
                assert await client.call("ping")

    run(scene())


def test_streams_of_one_connection_are_bounded(run: Run) -> None:
    async def scene() -> None:
        async with serving(limits=Limits(streams=2)) as server, Raw.open(server) as raw:
            for number in range(3):
                raw.say({"id": number, "call": "watch", "more": True})
            heard = [await raw.hear() or {} for _ in range(3)]
            assert [frame["id"] for frame in heard if "ok" in frame] == [0, 1]
            assert heard[2]["err"]["code"] == "busy"
            raw.say({"id": 1, "cancel": True})
            assert await raw.hear() == {"id": 1, "end": True}
            raw.say({"id": 9, "call": "watch", "more": True})
            assert (await raw.hear() or {})["ok"] == "snapshot"

    run(scene())


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\0\0\0\x03\xc1\xc1\xc1", "bad_frame"),
        (b"\0\0\0\x05\x93\x01\x02\x03\x04", "bad_frame"),
        (pack({"call": "ping"}), "bad_frame"),
        (pack({"id": 1.5, "call": "ping"}), "bad_frame"),
        (pack({"id": True, "call": "ping"}), "bad_frame"),
        (pack({"id": [1], "call": "ping"}), "bad_frame"),
        (pack({"id": 1}), "bad_frame"),
        (pack({"id": 1, "call": 7}), "bad_frame"),
        (pack({"id": 1, "call": "ping", "args": [1]}), "bad_frame"),
        (pack({"id": 1, "call": "wait"}) * 2, "bad_frame"),
        (b"\x7f\xff\xff\xff", "frame_too_large"),
        (b"GET / HTTP/1.1\r\n\r\n", "frame_too_large"),
    ],
)
def test_what_is_not_the_protocol_gets_a_typed_error_and_the_end(run: Run, data: bytes, code: str) -> None:
    async def scene() -> None:
        async with serving() as server, Raw.open(server) as raw:
            raw.writer.write(data)
            assert await raw.hear_code() == code
            await gone(raw)

    run(scene())


def test_a_first_frame_that_is_no_hello_is_refused(run: Run) -> None:
    async def scene() -> None:
        desk = Desk()
        async with serving(desk) as server, Raw.open(server, greet=False) as raw:
            raw.say({"id": 1, "call": "ping"})
            assert await raw.hear_code() == "bad_frame"
            await gone(raw)
        assert desk.seen == []

    run(scene())


def test_unknown_fields_and_a_cancel_of_nothing_are_ignored(run: Run) -> None:
    async def scene() -> None:
        async with serving() as server, Raw.open(server) as raw:
            raw.say({"id": 5, "cancel": True, "later": 1})
            raw.say({"id": 5, "call": "ping", "later": {"a": 1}, "args": None})
            assert (await raw.hear() or {})["ok"]["access"] == "WRITE"

    run(scene())
