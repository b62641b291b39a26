"""Mailboxes on a real server: order, limits, fences, bells, lost replies and dead letters."""

from __future__ import annotations

import asyncio

import pytest

from nova_torch.broker import Broker, Enqueue, Entry, Lane, Owner, mailbox, scripts
from nova_torch.errors import BrokerUnavailable, MailboxLost, MessageNotFound, NotOwner
from tests.support.aio import run
from tests.support.broker import Site
from tests.support.lossy import lossy_proxy

ONE = Owner(node="one", epoch=1)
TWO = Owner(node="two", epoch=2)


def letter(message_id: str, *, lane: Lane = Lane.MBX, agent: str = "a", limit: int = 1000) -> Enqueue:
    return Enqueue(agent=agent, message_id=message_id, lane=lane, payload=message_id.encode(), limit=limit)


def ids(entries: list[Entry]) -> list[str]:
    return [entry.message_id for entry in entries]


def places(entries: list[Entry]) -> list[tuple[Lane, str]]:
    return [(entry.lane, entry.entry_id) for entry in entries]


def test_order_is_kept_in_each_lane_and_hi_comes_first(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            await broker.claim("a", ONE)
            await broker.enqueue(
                [letter("m1"), letter("h1", lane=Lane.HI), letter("m2"), letter("h2", lane=Lane.HI)]
            )
            assert ids(await broker.read("a", ONE, count=3)) == ["h1", "h2", "m1"]
            assert ids(await broker.read("a", ONE, count=3)) == ["m2"]
            assert await broker.read("a", ONE, count=3) == []

    run(scenario())


def test_a_payload_comes_out_as_it_went_in(site: Site) -> None:
    async def scenario() -> None:
        payload = bytes(range(256)) * 4096 + b"\r\n"
        async with await site.connect() as broker:
            await broker.claim("a", ONE)
            for body in (payload, b""):
                item = Enqueue(agent="a", message_id=f"m{len(body)}", lane=Lane.MBX, payload=body, limit=9)
                await broker.enqueue([item])
                [entry] = await broker.read("a", ONE, count=9)
                assert entry.payload == body

    run(scenario())


def test_an_agent_that_nobody_owns_takes_no_message(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            await broker.claim("a", ONE)
            known, unknown = await broker.enqueue([letter("m1"), letter("m1", agent="b")])
            assert (known.owner_node, known.error) == ("one", "")
            assert (unknown.owner_node, unknown.error) == (None, "no_agent")

    run(scenario())


def test_an_owner_that_claims_between_two_batches_gets_nothing_out_of_order(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:

            async def claiming(*_: object) -> None:
                await broker.claim("a", ONE)

            monkeypatch.setattr(mailbox, "BATCH", 2)
            monkeypatch.setattr(mailbox, "ring", claiming)  # after each batch
            results = await broker.enqueue([letter(f"m{n}") for n in range(5)])
            assert [result.error for result in results] == ["no_agent"] * 5
            results = await broker.enqueue([letter(f"m{n}") for n in range(5)])
            assert [result.error for result in results] == [""] * 5
            assert ids(await broker.read("a", ONE, count=9)) == ["m0", "m1", "m2", "m3", "m4"]

    run(scenario())


def test_a_full_mailbox_is_an_error_and_keeps_what_it_has(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            await broker.claim("a", ONE)
            results = await broker.enqueue([letter(f"m{n}", limit=3) for n in range(5)])
            assert [result.error for result in results] == ["", "", "", "full", "full"]
            assert (await broker.enqueue([letter("h", lane=Lane.HI, limit=3)]))[0].error == ""
            assert await broker.backlog(["a"]) == {"a": 4}
            taken = await broker.read("a", ONE, count=9)
            assert ids(taken) == ["h", "m0", "m1", "m2"]
            await broker.ack("a", ONE, places(taken))
            assert (await broker.enqueue([letter("m3", limit=3)]))[0].error == ""

    run(scenario())


def test_the_same_message_twice_lies_once_in_the_mailbox(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            await broker.claim("a", ONE)
            assert not (await broker.enqueue([letter("m1", limit=1)]))[0].duplicate
            again = (await broker.enqueue([letter("m1", limit=1)]))[0]
            assert (again.duplicate, again.error, again.owner_node) == (True, "", "one")
            assert await broker.backlog(["a"]) == {"a": 1}

    run(scenario())


def test_a_message_that_was_acknowledged_may_come_again(site: Site) -> None:
    """Its sender asks again because the receipt was lost: the receiver answers with the old one."""

    async def scenario() -> None:
        async with await site.connect() as broker:
            await broker.claim("a", ONE)
            for _ in range(2):
                assert not (await broker.enqueue([letter("m1")]))[0].duplicate
                entries = await broker.read("a", ONE, count=9)
                assert ids(entries) == ["m1"]
                await broker.ack("a", ONE, places(entries))

    run(scenario())


def test_an_enqueue_whose_reply_was_lost_makes_no_second_entry(site: Site) -> None:
    async def scenario() -> None:
        async with (
            lossy_proxy(site.server.socket_path) as (proxy, url),
            await site.connect(url=url) as broker,
        ):
            await broker.claim("a", ONE)
            proxy.lose("only-once")
            with pytest.raises(BrokerUnavailable):
                await broker.enqueue([letter("only-once")])
            assert proxy.lost == 1
            assert await broker.backlog(["a"]) == {"a": 1}
            assert await broker.bells("one", block_s=0.01) == []
            assert (await broker.enqueue([letter("only-once")]))[0].duplicate
            assert await broker.bells("one", block_s=1) == [("a", Lane.MBX)]
            assert ids(await broker.read("a", ONE, count=9)) == ["only-once"]

    run(scenario())


def test_a_read_whose_reply_was_lost_is_found_among_the_pending(site: Site) -> None:
    async def scenario() -> None:
        async with (
            lossy_proxy(site.server.socket_path) as (proxy, url),
            await site.connect(url=url) as broker,
        ):
            await broker.claim("a", ONE)
            await broker.enqueue([letter("m1"), letter("m2")])
            assert await broker.read("a", ONE, count=1, pending=True) == []
            proxy.lose(scripts.READ.sha)
            with pytest.raises(BrokerUnavailable):
                await broker.read("a", ONE, count=1)
            assert ids(await broker.read("a", ONE, count=9, pending=True)) == ["m1"]
            assert ids(await broker.read("a", ONE, count=9)) == ["m2"]

    run(scenario())


def test_pending_entries_are_paged_until_all_are_seen(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            await broker.claim("a", ONE)
            names = [f"m{n}" for n in range(7)]
            await broker.enqueue([letter(name) for name in names])
            await broker.enqueue([letter(f"h{n}", lane=Lane.HI) for n in range(3)])
            await broker.read("a", ONE, count=99)
            pages = [ids(page) async for page in broker.pending_pages("a", ONE, count=4)]
            assert pages == [["h0", "h1", "h2", "m0"], ["m1", "m2", "m3", "m4"], ["m5", "m6"]]

    run(scenario())


def test_a_new_owner_inherits_what_was_pending_and_the_old_one_is_refused(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as old, await site.connect() as new:
            await old.claim("a", ONE)
            await old.enqueue([letter("m1"), letter("m2")])
            [held] = await old.read("a", ONE, count=1)
            await new.claim("a", TWO)
            assert await old.owner_of("a") == TWO
            refused = [
                old.read("a", ONE, count=9),
                old.read("a", ONE, count=9, pending=True),
                old.ack("a", ONE, places([held])),
                old.bury("a", ONE, held, state="dead", reason="late"),
                old.release("a", ONE, drop=True),
                old.claim("a", ONE),
            ]
            for call in refused:
                with pytest.raises(NotOwner, match="two as of epoch 2"):
                    await call
            assert ids(await new.read("a", TWO, count=9, pending=True)) == ["m1"]
            assert ids(await new.read("a", TWO, count=9)) == ["m2"]
            assert (await old.enqueue([letter("m3")]))[0].owner_node == "two"

    run(scenario())


def test_an_earlier_epoch_of_the_same_node_is_refused(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            later = Owner(node="one", epoch=1_795_366_556_842)
            await broker.claim("a", later)
            await broker.claim("a", later)
            with pytest.raises(NotOwner):
                await broker.claim("a", Owner(node="one", epoch=1_795_366_556_841))
            with pytest.raises(NotOwner):
                await broker.read("a", Owner(node="one", epoch=1_795_366_556_843), count=1)

    run(scenario())


def test_a_released_mailbox_keeps_its_messages_for_the_next_owner(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            await broker.claim("a", ONE)
            await broker.enqueue([letter("m1")])
            assert await broker.release("a", ONE, drop=False) == 1
            assert await broker.owner_of("a") is None
            assert (await broker.enqueue([letter("m2")]))[0].error == "no_agent"
            await broker.claim("a", TWO)
            assert ids(await broker.read("a", TWO, count=9)) == ["m1"]

    run(scenario())


def test_a_dropped_mailbox_is_empty_when_it_is_claimed_again(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            await broker.claim("a", ONE)
            await broker.enqueue([letter("m1"), letter("m2", lane=Lane.HI)])
            assert await broker.release("a", ONE, drop=True) == 2
            with pytest.raises(MailboxLost):
                await broker.read("a", ONE, count=1)
            await broker.claim("a", ONE)
            assert await broker.backlog(["a", "b"]) == {"a": 0, "b": 0}
            assert not (await broker.enqueue([letter("m1")]))[0].duplicate

    run(scenario())


def test_bells_of_one_mailbox_become_one_with_the_sooner_lane(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            for agent in ("a", "b"):
                await broker.claim(agent, ONE)
            await broker.enqueue([letter(f"m{n}") for n in range(20)])
            await broker.enqueue([letter("b1", agent="b"), letter("b2", agent="b", lane=Lane.HI)])
            await broker.enqueue([letter("b3", agent="b")])
            assert await broker.bells("one", block_s=1) == [("b", Lane.HI), ("a", Lane.MBX)]
            assert await broker.bells("one", block_s=0.01) == []

    run(scenario())


def test_a_bell_wakes_a_reader_that_waits(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as reader, await site.connect() as sender:
            await sender.claim("a", ONE)
            waiting = asyncio.create_task(reader.bells("one", block_s=5))
            await site.blocked()
            await sender.enqueue([letter("m1")])
            assert await waiting == [("a", Lane.MBX)]

    run(scenario())


def test_a_bell_taken_for_a_cancelled_reader_goes_to_the_next_call(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker, await site.connect() as sender:
            await sender.claim("a", ONE)
            waiting = asyncio.create_task(broker.bells("one", block_s=5))
            await site.blocked()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            await sender.enqueue([letter("m1")])
            assert await broker.bells("one", block_s=0.01) == [("a", Lane.MBX)]

    run(scenario())


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


def test_a_dropped_dead_letter_is_gone(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            await broker.claim("a", ONE)
            await broker.enqueue([letter("m1")])
            [entry] = await broker.read("a", ONE, count=9)
            await broker.bury("a", ONE, entry, state="dead", reason="no pane")
            [buried] = await broker.dead("a", 9)
            assert await broker.drop_dead("a", buried.entry_id)
            assert not await broker.drop_dead("a", buried.entry_id)

    run(scenario())


def test_an_entry_deleted_by_another_hand_does_not_stay_pending(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            await broker.claim("a", ONE)
            await broker.enqueue([letter("m1"), letter("m2")])
            first, _ = await broker.read("a", ONE, count=9)
            site.ask("XDEL", f"{site.prefix}:{{a:a}}:mbx", first.entry_id)
            assert ids(await broker.read("a", ONE, count=9, pending=True)) == ["m2"]
            assert not (await broker.enqueue([letter("m1")]))[0].duplicate

    run(scenario())


def test_a_batch_larger_than_one_write_keeps_its_order(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            await broker.claim("a", ONE)
            names = [f"m{n}" for n in range(600)]
            await broker.enqueue([letter(name) for name in names])
            assert ids(await broker.read("a", ONE, count=999)) == names

    run(scenario())


def test_a_server_that_forgot_the_scripts_learns_them_again(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            await broker.claim("a", ONE)
            site.ask("SCRIPT", "FLUSH")
            await broker.enqueue([letter(f"m{n}") for n in range(5)])
            site.ask("SCRIPT", "FLUSH")
            assert len(await broker.read("a", ONE, count=9)) == 5

    run(scenario())


def test_a_broker_prints_itself_without_secrets(site: Site) -> None:
    async def scenario() -> None:
        broker = await Broker.connect(site.server.url, prefix=site.prefix, password=None)
        try:
            assert repr(broker) == f"<Broker <Link {site.server.url} flights=[]> <Keys {site.prefix}>>"
        finally:
            await broker.close()

    run(scenario())
