"""A loss of the broker's data that was seen while nobody followed a message sends it again all the same."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any, cast

import pytest

from nova_torch import again
from nova_torch.communication.broker_box import BrokerBox
from nova_torch.communication.compose import compose
from tests.support.aio import run
from tests.support.broker import Site
from tests.support.letters import ONE, ids

TURN_S = 0.3


async def followed_in_turns(box: BrokerBox, message_id: str, turns: int) -> None:
    """Follow a message as a broadcast to many does: now and then, for a while."""
    for _ in range(turns):
        try:
            async with asyncio.timeout(TURN_S), aclosing(cast("Any", box.follow(message_id))) as updates:
                async for _ in updates:
                    pass
        except TimeoutError:
            pass


def test_what_is_followed_in_turns_is_sent_again_after_a_loss(own_site: Site) -> None:
    async def scenario() -> None:
        async with await own_site.connect() as broker:
            box = BrokerBox(broker, mailbox_limit=9, clock_ms=lambda: 1, gone_s=1)
            await broker.claim("a", ONE)
            message = compose("a", "x", now_ms=1, max_bytes=99)
            await box.post(message)
            await followed_in_turns(box, message.id, 1)
            own_site.ask("FLUSHALL")
            await broker.claim("a", ONE)
            box._losses._looked_at = float("-inf")
            await box._losses.look(asyncio.get_running_loop().time())  # who follows another one sees it
            await followed_in_turns(box, message.id, 1)
            assert ids(await broker.read("a", ONE, count=9)) == [message.id]

    run(scenario())


def test_what_is_followed_in_turns_and_stays_silent_is_sent_again(
    own_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(again, "SILENT_S", 2 * TURN_S)
        async with await own_site.connect() as broker:
            box = BrokerBox(broker, mailbox_limit=9, clock_ms=lambda: 1, gone_s=1)
            await broker.claim("a", ONE)
            message = compose("a", "x", now_ms=1, max_bytes=99)
            await box.post(message)
            taken = await broker.read("a", ONE, count=9)
            await broker.ack("a", ONE, [(entry.lane, entry.entry_id) for entry in taken])
            await followed_in_turns(box, message.id, 5)
            assert ids(await broker.read("a", ONE, count=9)) == [message.id]

    run(scenario())
