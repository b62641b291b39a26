"""Dead letters on a real server: buried with their reason, dug out again, dropped."""

from __future__ import annotations

import pytest

from nova_torch.broker import Entry, Lane
from nova_torch.errors import MessageNotFound
from tests.support.aio import run
from tests.support.broker import Site
from tests.support.letters import ONE, letter


def test_a_dead_letter_keeps_its_reason_and_leaves_the_mailbox(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            await broker.claim("a", ONE)
            await broker.enqueue([letter("m1"), letter("h1", lane=Lane.HI)])
            for entry in await broker.read("a", ONE, count=9):
                for _ in range(2):  # as after a lost reply
                    await broker.bury("a", ONE, entry, state="dead", reason=f"no pane for {entry.message_id}")
            first, second = await broker.dead("a", 9)
            assert (first.message_id, first.payload, first.lane) == ("h1", b"h1", Lane.HI)
            assert (second.state, second.reason) == ("dead", "no pane for m1")
            assert second.at_ms > 1_700_000_000_000
            assert [entry.message_id for entry in await broker.dead("a", 1)] == ["m1"]
            assert await broker.backlog(["a"]) == {"a": 0}
            assert await broker.read("a", ONE, count=9, pending=True) == []

    run(scenario())


def test_a_message_that_never_was_in_the_broker_can_be_buried(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            await broker.claim("a", ONE)
            local = Entry(lane=Lane.MBX, entry_id="", message_id="m1", payload=b"x")
            await broker.bury("a", ONE, local, state="expired", reason="too late")
            assert [entry.message_id for entry in await broker.dead("a", 9)] == ["m1"]

    run(scenario())


def test_an_unburied_letter_is_back_in_its_lane_with_a_bell(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            await broker.claim("a", ONE)
            await broker.enqueue([letter("h1", lane=Lane.HI)])
            await broker.bells("one", block_s=1)
            [entry] = await broker.read("a", ONE, count=9)
            for _ in range(2):  # it may die, be sent again, and die again
                await broker.bury("a", ONE, entry, state="dead", reason="no pane")
                [buried] = await broker.dead("a", 9)
                assert (await broker.unbury("a", buried.entry_id)).payload == b"h1"
                assert await broker.dead("a", 9) == []
                assert await broker.bells("one", block_s=1) == [("a", Lane.HI)]
                assert (await broker.enqueue([letter("h1", lane=Lane.HI)]))[0].duplicate
                [entry] = await broker.read("a", ONE, count=9)
                assert (entry.message_id, entry.lane) == ("h1", Lane.HI)
            with pytest.raises(MessageNotFound):
                await broker.unbury("a", buried.entry_id)

    run(scenario())
