"""The control server as its clients see it: calls, errors, the end."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from nova_torch.errors import (
    DaemonUnreachable,
    FrameTooLarge,
    InternalError,
    ProtocolMismatch,
    ShuttingDown,
    TimedOut,
    UnknownCall,
)
from nova_torch.protocol.aclient import AsyncClient
from nova_torch.protocol.client import Client
from nova_torch.protocol.frames import hello, pack
from nova_torch.version import VERSION
from noval_d.control.calls import Limits
from tests.support.control import Desk, Raw, run_on, serving, until

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    return lambda coro: run_on(request.param, coro)


def test_the_light_client_calls_and_streams(run: Run) -> None:
    def program(path: str) -> None:
        with Client.connect(path) as client:
            assert client.server_version == VERSION
            assert client.call("ping") == {"uid": os.getuid(), "access": "WRITE"}
            assert list(client.stream("count", {"n": 4})) == [0, 1, 2, 3]
            with pytest.raises(UnknownCall, match=r"no call 'pign'\. Did you mean ping\?"):
                client.call("pign")
            assert client.call("ping", {"unknown": "field"})["access"] == "WRITE"

    async def scene() -> None:
        async with serving() as server:
            await asyncio.to_thread(program, server.path)

    run(scene())


def test_calls_on_one_connection_are_answered_as_they_finish(run: Run) -> None:
    async def scene() -> None:
        desk = Desk()
        async with serving(desk) as server, await AsyncClient.connect(server.path) as client:
            slow = asyncio.create_task(client.call("wait"))
            await desk.entered.wait()
            assert await client.call("ping")
            assert not slow.done()
            desk.gate.set()
            assert await slow == "waited"

    run(scene())


def test_more_calls_than_one_connection_serves_at_once_are_all_answered(run: Run) -> None:
    async def scene() -> None:
        desk = Desk()
        async with (
            serving(desk, limits=Limits(calls=4)) as server,
            await AsyncClient.connect(server.path) as client,
        ):
            calls = [asyncio.create_task(client.call("wait")) for _ in range(200)]
            await until(lambda: desk.seen.count("wait") == 4)
            await asyncio.sleep(0.05)  # for the others to come in, if they would
            assert desk.seen.count("wait") == 4
            desk.gate.set()
            assert await asyncio.gather(*calls) == ["waited"] * 200

    run(scene())


def test_cancelling_one_call_harms_no_other(run: Run) -> None:
    async def scene() -> None:
        desk = Desk()
        async with serving(desk) as server, await AsyncClient.connect(server.path) as client:
            one, two = (asyncio.create_task(client.call("wait")) for _ in range(2))
            await desk.entered.wait()
            one.cancel()
            with pytest.raises(asyncio.CancelledError):
                await one
            with pytest.raises(TimedOut, match="did not answer wait within"):
                await client.call("wait", timeout_s=0.05)
            desk.gate.set()
            assert await two == "waited"
            assert [item async for item in client.stream("count")] == [0, 1, 2]

    run(scene())


def test_a_call_goes_on_when_its_caller_is_gone(run: Run) -> None:
    async def scene() -> None:
        desk = Desk()
        async with serving(desk) as server:
            _, writer = await asyncio.open_unix_connection(server.path)
            writer.write(pack(hello()) + pack({"id": 1, "call": "wait"}))
            writer.close()
            await desk.entered.wait()
            desk.gate.set()
            await desk.finished.wait()

    run(scene())


def test_a_client_that_only_stops_writing_still_gets_its_answer(run: Run) -> None:
    async def scene() -> None:
        desk = Desk()
        async with serving(desk) as server, Raw.open(server) as raw:
            raw.say({"id": 1, "call": "wait"})
            raw.say({"id": 2, "call": "watch", "more": True})
            assert await raw.hear() == {"id": 2, "more": "snapshot", "ok": "snapshot"}
            raw.writer.write_eof()
            await desk.closed.wait()
            assert await raw.hear() == {"id": 2, "end": True}
            desk.gate.set()
            assert await raw.hear() == {"id": 1, "ok": "waited"}
            assert await raw.hear() is None

    run(scene())


def test_a_defect_is_logged_and_not_shown(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        async with serving() as server, await AsyncClient.connect(server.path) as client:
            for args in ({}, {"cancelled": True}):
                with pytest.raises(InternalError) as caught:
                    await client.call("fail", args)
                assert str(caught.value) == "nova-torchd failed at fail. Its log has the reason."
            with pytest.raises(InternalError):
                await client.call("unpackable")
            assert await client.call("ping")

    with caplog.at_level(logging.ERROR, "nova.control"):
        run(scene())
    assert caplog.messages == ["control.call_failed", "control.call_failed", "control.answer_unpackable"]
    assert "secret detail" in caplog.text


def test_a_megabyte_passes_and_two_are_refused_before_the_handler_runs(run: Run) -> None:
    def refused_by_the_daemon(path: str) -> None:
        with Client.connect(path) as client:
            client._request_bytes = 4 << 20  # a client that does not know better
            with pytest.raises(FrameTooLarge):
                client.call("echo", {"body": b"x" * (2 << 20)})
            with pytest.raises(DaemonUnreachable, match="the connection is closed"):
                client.call("ping")

    async def scene() -> None:
        desk = Desk()
        body = b"x" * (1 << 20)
        async with serving(desk) as server:
            async with await AsyncClient.connect(server.path) as client:
                assert await client.call("echo", {"body": body}) == body
                with pytest.raises(FrameTooLarge):
                    await client.call("echo", {"body": body + body})
                assert await client.call("ping")
            await asyncio.to_thread(refused_by_the_daemon, server.path)
            assert desk.seen == ["echo", "ping"]

    run(scene())


def test_an_answer_that_is_too_large_is_an_error_of_its_call_alone(run: Run) -> None:
    async def scene() -> None:
        async with serving() as server, await AsyncClient.connect(server.path) as client:
            assert len(await client.call("large", {"bytes": (8 << 20) - 100})) == (8 << 20) - 100
            with pytest.raises(FrameTooLarge, match="the answer to large is too large"):
                await client.call("large", {"bytes": 8 << 20})
            assert len((await client.call("packed", {"bytes": (8 << 20) - 100}))["body"]) == (8 << 20) - 100
            with pytest.raises(FrameTooLarge, match="the answer to packed is too large"):
                await client.call("packed", {"bytes": 8 << 20})
            assert await client.call("ping")

    run(scene())


def test_a_mismatch_of_versions_is_named_on_both_sides(run: Run) -> None:
    async def scene() -> None:
        async with serving() as server, Raw.open(server, greet=False) as raw:
            raw.say({"hello": {"proto": [7, 9], "version": "9.0.0"}})
            said = await raw.hear()
            assert said is not None
            assert said["hello"]["proto"] == [1, 1]
            err = await raw.hear()
            assert err is not None
            assert err["err"]["code"] == "proto_mismatch"
            assert err["err"]["message"] == (
                f"nova-torchd {VERSION} speaks protocol 1, the program 9.0.0 speaks 7 to 9."
            )
            assert await raw.hear() is None

    run(scene())


def test_both_clients_name_a_daemon_of_another_protocol(run: Run) -> None:
    def light(path: str) -> None:
        with pytest.raises(ProtocolMismatch, match=r"nova-torchd 5\.0\.0 speaks 5"):
            Client.connect(path)

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(pack({"hello": {"proto": [5, 5], "version": "5.0.0"}}))
        writer.close()

    async def scene() -> None:
        async with serving() as place:
            path = f"{place.path}2"
            async with await asyncio.start_unix_server(other, path):
                await asyncio.to_thread(light, path)
                with pytest.raises(ProtocolMismatch, match=r"nova-torchd 5\.0\.0 speaks 5"):
                    await AsyncClient.connect(path)

    run(scene())


def test_a_call_that_outlasts_the_grace_is_answered_with_shutting_down(run: Run) -> None:
    async def scene() -> None:
        desk = Desk()
        async with (
            serving(desk, limits=Limits(grace_s=0.05)) as server,
            await AsyncClient.connect(server.path) as client,
        ):
            call = asyncio.create_task(client.call("wait"))
            await desk.entered.wait()
            await server.stop()
            with pytest.raises(ShuttingDown):
                await call

    run(scene())
