"""Mailboxes on a real server: order, limits, bells, lost replies."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from nova_torch.broker import Broker, Enqueue, Lane, Owner, scripts
from nova_torch.broker.wires import Command, Wires
from nova_torch.errors import BrokerUnavailable
from tests.support.aio import run
from tests.support.broker import Site
from tests.support.letters import ONE, ids, letter, places
from tests.support.lossy import lossy_proxy


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


def test_what_one_mailbox_refuses_twice_is_not_said_of_another_ones_message(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            await broker.claim("a", ONE)
            await broker.claim("b", Owner(node="two", epoch=1))
            batch = [
                letter("n1", agent="nobody"), letter("a1", limit=1), letter("b1", agent="b"),
                letter("n2", agent="nobody"), letter("a2", limit=1), letter("b2", agent="b"),
                letter("n3", agent="nobody"), letter("a3", limit=1), letter("b3", agent="b"),
            ]  # fmt: skip
            results = await broker.enqueue(batch)
            assert [result.error for result in results] == [
                "no_agent", "", "", "no_agent", "full", "", "no_agent", "full", "",
            ]  # fmt: skip
            assert [result.owner_node for result in results if not result.error] == [
                "one",
                "two",
                "two",
                "two",
            ]
            assert await broker.backlog(["a", "b"]) == {"a": 1, "b": 3}

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
            await broker.enqueue([letter("m0", agent="nobody")])  # the server knows the script from now on
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


def test_the_right_bell_rings_whether_the_owner_was_met_before_or_is_new(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as reader, await site.connect() as sender:
            await reader.claim("a", ONE)
            for n in range(2):  # the second time the owner is known
                await sender.enqueue([letter(f"m{n}")])
                assert await reader.bells("one", block_s=0.01) == [("a", Lane.MBX)]
            await reader.claim("a", Owner(node="two", epoch=1), over=ONE)
            await sender.enqueue([letter("m2")])
            assert await reader.bells("two", block_s=0.01) == [("a", Lane.MBX)]
            site.ask("SCRIPT", "FLUSH")
            await sender.enqueue([letter("m3")])
            assert await reader.bells("two", block_s=0.01) == [("a", Lane.MBX)]
            assert {e.message_id for e in await reader.read("a", Owner(node="two", epoch=1), count=9)} == {
                "m0", "m1", "m2", "m3",
            }  # fmt: skip

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
        broker = await Broker.connect(site.server.url, prefix=site.prefix)
        try:
            assert repr(broker) == f"<Broker <Link {site.server.url} flights=[]> <Keys {site.prefix}>>"
        finally:
            await broker.close()

    run(scenario())


def test_who_has_seen_whose_a_mailbox_is_rings_in_the_same_write(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = 0
    exchange = Wires.exchange

    async def counted(self: Wires, commands: Sequence[Command], limit_s: float | None = None) -> list[Any]:
        nonlocal writes
        writes += 1
        return await exchange(self, commands, limit_s)

    async def scenario() -> None:
        nonlocal writes
        async with await site.connect() as broker:
            await broker.claim("a", ONE)
            await broker.enqueue([letter("m0", agent="nobody")])  # the server knows the script from now on
            assert await broker.owner_of("a") == ONE
            writes = 0
            await broker.enqueue([letter("m1")])
            assert writes == 1
            assert await broker.bells("one", block_s=1) == [("a", Lane.MBX)]

    monkeypatch.setattr(Wires, "exchange", counted)
    run(scenario())
