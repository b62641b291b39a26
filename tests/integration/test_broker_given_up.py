"""A connection is reset, or closed under what waits for a reply: the broker's one error, at whatever step.

The daemon's own event loop is used here: what it raises for a connection that is gone differs from asyncio's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from nova_torch.broker import Broker, Lane, Owner
from nova_torch.broker.connection import Link
from nova_torch.errors import BrokerGivenUp, BrokerUnavailable
from tests.support.broker import Site

STEPS = 20
LIMIT_S = 60.0

ASK: dict[str, Callable[[Broker], Awaitable[object]]] = {
    "command": lambda broker: broker.ping(),
    "batch": lambda broker: broker.generation(),
    "script": lambda broker: broker.order_drain("node", b"order"),
    "blocking": lambda broker: broker.bells("node", block_s=5.0),
}


def run(scenario: Awaitable[None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(LIMIT_S):
            await scenario

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(limited())


async def steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("kind", ASK)
def test_what_waits_for_a_reply_hears_that_its_connection_was_given_up(site: Site, kind: str) -> None:
    async def scenario() -> None:
        given_up = 0
        for count in range(STEPS):
            broker = await site.connect()
            tasks = [asyncio.ensure_future(ASK[kind](broker)) for _ in range(3)]
            await steps(count)
            await broker.close()
            for end in await asyncio.gather(*tasks, return_exceptions=True):
                assert not isinstance(end, BaseException) or isinstance(end, BrokerGivenUp), (
                    count,
                    repr(end),
                )
                given_up += isinstance(end, BrokerGivenUp)
            with pytest.raises(BrokerGivenUp):
                await ASK[kind](broker)
        assert given_up

    run(scenario())


def test_a_word_that_cannot_be_sent_is_told_to_who_said_it(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            for _ in range(2):
                ends = await asyncio.gather(
                    broker.order_drain("node", "\ud800"),  # type: ignore[arg-type]
                    broker.ack("agent", Owner(node="node", epoch=1), [(Lane.MBX, "\ud800")]),
                    broker.bells("node", block_s=0.01),
                    return_exceptions=True,
                )
                assert [type(end) for end in ends] == [UnicodeEncodeError, BrokerUnavailable, list]

    run(scenario())


def test_a_reset_at_any_step_of_a_subscription_is_that_the_broker_is_not_there(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    single = Link.single

    def remembered(link: Link) -> Any:
        made.append(single(link))
        return made[-1]

    monkeypatch.setattr(Link, "single", remembered)

    async def scenario() -> None:
        broker = await site.connect()
        lost = 0
        for count in range(STEPS * 3):
            task = asyncio.ensure_future(broker.channels("node", ["one"], ["two.*"]))
            await steps(count)
            for each in made[-1].connection_pool._in_use_connections if made else ():
                if each._writer is not None:
                    each._writer.transport.abort()
            try:
                await (await task).close()
            except BrokerUnavailable:
                lost += 1
        assert lost
        await broker.close()

    run(scenario())
