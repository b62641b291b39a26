"""Streams over the control socket: snapshot, deltas, end; slow readers; readers that leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from typing import Any

import pytest

from nova_torch.errors import (
    DaemonUnreachable,
    InvalidRequest,
    Lagged,
    ShuttingDown,
)
from nova_torch.protocol.aclient import AsyncClient
from nova_torch.protocol.client import Client
from tests.support.control import Desk, Raw, run_on, serving

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    return lambda coro: run_on(request.param, coro)


def test_a_stream_left_early_is_closed_and_the_connection_goes_on(run: Run) -> None:
    def program(path: str) -> None:
        with Client.connect(path) as client:
            stream = client.stream("watch")
            assert next(stream) == "snapshot"
            stream.close()  # type: ignore[attr-defined]
            assert client.call("ping")["access"] == "WRITE"

    async def scene() -> None:
        desk = Desk()
        async with serving(desk) as server:
            await asyncio.to_thread(program, server.path)
            await desk.closed.wait()
            async with await AsyncClient.connect(server.path) as client:
                desk.closed.clear()
                async with aclosing(client.stream("watch")) as stream:
                    assert await anext(stream) == "snapshot"
                await desk.closed.wait()
                assert await client.call("ping")

    run(scene())


def test_a_client_that_disconnects_ends_its_streams(run: Run) -> None:
    async def scene() -> None:
        desk = Desk()
        async with serving(desk) as server:
            async with Raw.open(server) as raw:
                raw.say({"id": "s", "call": "watch", "more": True})
                await raw.hear()
            await desk.closed.wait()

    run(scene())


def test_a_stream_asked_without_more_answers_with_its_snapshot(run: Run) -> None:
    async def scene() -> None:
        desk = Desk()
        async with serving(desk) as server, await AsyncClient.connect(server.path) as client:
            assert await client.call("watch") == "snapshot"
            await desk.closed.wait()
            with pytest.raises(InvalidRequest, match="ping is no stream"):
                [item async for item in client.stream("ping")]

    run(scene())


def test_a_slow_reader_is_told_that_it_lagged_and_others_are_not_held_up(run: Run) -> None:
    async def scene() -> None:
        desk = Desk()
        async with serving(desk) as server, Raw.open(server) as slow:
            slow.say({"id": 1, "call": "watch", "more": True, "args": {"padding": 100_000}})
            await slow.hear()
            async with await AsyncClient.connect(server.path) as other:
                stream = other.stream("watch")
                assert await anext(stream) == "snapshot"
                for number in range(1000):  # 100 MB: more than any buffer on the way
                    desk.hub.publish(number)
                    assert await anext(stream) == [number, ""]
                await stream.aclose()
            got = 0
            while (frame := await slow.hear()) is not None and "err" not in frame:
                assert frame["ok"][0] == got
                got += 1
            assert frame is not None
            assert frame["err"]["code"] == "lagged"
            assert frame["end"] is True
            assert got < 1000
            slow.say({"id": 2, "call": "ping"})
            assert (await slow.hear() or {}).get("id") == 2

    run(scene())


def test_a_program_that_reads_its_stream_too_slowly_lags_alone(run: Run) -> None:
    async def scene() -> None:
        desk = Desk()
        async with serving(desk) as server, await AsyncClient.connect(server.path) as client:
            stream = client.stream("watch")
            assert await anext(stream) == "snapshot"
            for number in range(600):
                desk.hub.publish(number)
                if number % 100 == 0:
                    await client.call("ping")
            with pytest.raises(Lagged):
                await _read_all(stream)
            assert await client.call("ping")

    run(scene())


async def _read_all(stream: AsyncIterator[Any]) -> None:
    async for _ in stream:
        pass


def test_stopping_answers_what_is_in_flight_and_ends_the_streams(run: Run) -> None:
    async def scene() -> None:
        desk = Desk()
        async with serving(desk) as server, await AsyncClient.connect(server.path) as client:
            stream = client.stream("watch")
            assert await anext(stream) == "snapshot"
            call = asyncio.create_task(client.call("wait"))
            await desk.entered.wait()
            stopping = asyncio.create_task(server.stop())
            with pytest.raises(ShuttingDown):
                await anext(stream)
            with pytest.raises(ShuttingDown):
                await client.call("ping")
            with pytest.raises(DaemonUnreachable, match=r"not running\. Start it: novactl up"):
                await AsyncClient.connect(server.path)
            desk.gate.set()
            assert await call == "waited"
            await stopping
            with pytest.raises(DaemonUnreachable):
                await client.call("ping")

    run(scene())
