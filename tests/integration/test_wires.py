"""What a connection to the broker does when its server says too much, too little, or nothing more."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from nova_torch.broker.address import parse_address
from nova_torch.broker.client import connection
from nova_torch.broker.wires import CLOSED, UNASKED, Wires
from nova_torch.login import NOBODY

Speak = Callable[[int, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: Any, **named: Any) -> None:
        async def limited() -> None:
            async with asyncio.timeout(10):
                await test(*args, **named)

        for loop in (asyncio.new_event_loop, uvloop.new_event_loop):
            with asyncio.Runner(loop_factory=loop) as runner:
                runner.run(limited())

    return run


@contextlib.asynccontextmanager
async def wires_to(speak: Speak) -> AsyncIterator[tuple[Wires, list[int]]]:
    """Give wires to a server that speaks on each connection, by its number, as it is told; and those numbers."""
    met: list[int] = []
    serving: list[asyncio.Task[Any] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append(len(met))
        serving.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError):
            await speak(met[-1], reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    wires = Wires(connection(parse_address(f"redis://127.0.0.1:{port}", NOBODY), None, 5.0), 1)
    try:
        yield wires, met
    finally:
        wires.close()
        await asyncio.gather(*(task for task in serving if task is not None))
        server.close()


async def heard(reader: asyncio.StreamReader) -> None:
    assert await reader.readuntil(b"PING\r\n")


@pytest.mark.parametrize(
    "more", [b"+unasked\r\n", b"$5\r\nun", b""], ids=["a reply", "half a reply", "its end"]
)
@on_a_loop
async def test_what_comes_unasked_after_a_reply_is_no_reply_to_the_next_command(more: bytes) -> None:
    said_more = asyncio.Event()

    async def speak(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        writer.write(b"+%d\r\n" % number)
        if number == 0:
            await said_more.wait()
            writer.write(more)
            if not more:
                return
        await reader.read()

    async with wires_to(speak) as (wires, met):
        assert await wires.exchange([("PING",)]) == [b"0"]
        (wire,) = wires._free
        said_more.set()
        while wire.clean:  # noqa: ASYNC110 - the loop tells the wire, and nobody else
            await asyncio.sleep(0)
        assert await wires.exchange([("PING",)]) == [b"1"]
        assert met == [0, 1]


@on_a_loop
async def test_a_reply_too_many_at_once_is_told_and_the_connection_given_up() -> None:
    async def speak(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        writer.write(b"+first\r\n+second\r\n" if number == 0 else b"+own\r\n")
        await reader.read()

    async with wires_to(speak) as (wires, _met):
        with pytest.raises(Exception, match=UNASKED):
            await wires.exchange([("PING",)])
        assert await wires.exchange([("PING",)]) == [b"own"]


@on_a_loop
async def test_a_server_that_goes_between_two_replies_has_answered_nothing() -> None:
    async def speak(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        writer.write(b"+first\r\n" if number == 0 else b"+a\r\n+b\r\n")
        if number:
            await reader.read()

    async with wires_to(speak) as (wires, met):
        with pytest.raises(Exception, match=CLOSED):
            await wires.exchange([("PING",), ("PING",)])
        assert await wires.exchange([("PING",), ("PING",)]) == [b"a", b"b"]
        assert met == [0, 1]


@on_a_loop
async def test_the_replies_to_a_cancelled_exchange_are_nobody_elses() -> None:
    asked = asyncio.Event()

    async def speak(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        if number == 0:
            asked.set()
            await reader.read()  # until it was given up
        else:
            writer.write(b"-ERR of the second\r\n")
            await reader.read()

    async with wires_to(speak) as (wires, _met):
        task = asyncio.create_task(wires.exchange([("PING",)]))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (reply,) = await wires.exchange([("PING",)])
        assert isinstance(reply, Exception)
        assert str(reply) == "of the second"


@on_a_loop
async def test_nothing_is_sent_for_no_command() -> None:
    async def speak(_number: int, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with wires_to(speak) as (wires, met):
        assert await wires.exchange([]) == []
        assert met == []


@on_a_loop
async def test_who_waits_for_a_place_gets_it_in_turn_and_one_that_is_cancelled_costs_none() -> None:
    told = asyncio.Event()

    async def speak(_number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        await told.wait()
        writer.write(b"+0\r\n")
        for n in range(1, 4):
            await heard(reader)
            writer.write(b"+%d\r\n" % n)
        await reader.read()

    async with wires_to(speak) as (wires, met):
        waiting = [asyncio.create_task(wires.exchange([("PING",)])) for _ in range(5)]
        await asyncio.sleep(0)  # all have asked
        waiting[2].cancel()
        told.set()
        replies = await asyncio.gather(*waiting, return_exceptions=True)
        assert [reply for reply in replies if isinstance(reply, list)] == [[b"0"], [b"1"], [b"2"], [b"3"]]
        assert isinstance(replies[2], asyncio.CancelledError)
        assert met == [0]
        assert repr(wires) == "<Wires free=1 used=0>"


@on_a_loop
async def test_a_reply_that_does_not_come_in_time_is_given_up_and_its_connection_too() -> None:
    async def speak(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        if number:
            writer.write(b"+in time\r\n")
        await reader.read()

    async with wires_to(speak) as (wires, met):
        with pytest.raises(TimeoutError):
            await wires.exchange([("PING",)], 0.05)
        assert await wires.exchange([("PING",)], 60.0) == [b"in time"]
        assert repr(wires) == "<Wires free=1 used=0>"
        assert met == [0, 1]
        task = asyncio.create_task(wires.exchange([("PING",)], 60.0))
        await asyncio.sleep(0)
        wires.give_up()
        with pytest.raises(TimeoutError):
            await task


@on_a_loop
async def test_each_exchange_has_its_own_limit_however_long_that_of_the_last_was() -> None:
    async def speak(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        writer.write(b"+0\r\n")
        await heard(reader)
        if number == 0:
            await reader.read()
            return
        await asyncio.sleep(0.3)
        writer.write(b"+late enough\r\n")
        await reader.read()

    async with wires_to(speak) as (wires, met):
        assert await wires.exchange([("PING",)], 60.0) == [b"0"]
        with pytest.raises(TimeoutError):
            await wires.exchange([("PING",)], 0.05)
        assert await wires.exchange([("PING",)], 0.1) == [b"0"]
        assert await wires.exchange([("PING",)], 60.0) == [b"late enough"]
        assert met == [0, 1]


@on_a_loop
async def test_who_is_cancelled_when_his_reply_has_come_spoils_the_connection_for_nobody() -> None:
    async def speak(_number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for n in range(2):
            await heard(reader)
            writer.write(b"+%d\r\n" % n)
        await reader.read()

    async with wires_to(speak) as (wires, met):
        first = asyncio.create_task(wires.exchange([("PING",)]))
        while not wires._free:  # noqa: ASYNC110 - the reply has come, and is not read yet
            await asyncio.sleep(0)
        second = asyncio.create_task(wires.exchange([("PING",)]))
        first.cancel()
        assert await second == [b"1"]
        await asyncio.wait([first])
        assert met == [0]
