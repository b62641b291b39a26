"""Nodes on a real server: epochs, leases by its clock, blobs, the node's own mail, and generations."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from nova_torch.broker import Enqueue, Lane, Owner
from nova_torch.broker.wires import Command, Wires
from nova_torch.errors import BrokerUnavailable, MailboxLost, NotOwner
from tests.support.aio import run
from tests.support.broker import Site
from tests.support.lossy import lossy_proxy


def test_each_epoch_of_a_node_is_later_than_the_one_before(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            epochs = [await broker.claim_epoch("one") for _ in range(5)]
            assert epochs == sorted(set(epochs))
            assert epochs[0] > 1_700_000_000_000

    run(scenario())


def test_an_epoch_of_the_future_is_still_surpassed(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            future = 1_995_366_556_842
            await broker.beat("one", future, b"", ttl_s=20)
            assert await broker.claim_epoch("one") == future + 1

    run(scenario())


def test_a_beat_makes_a_node_alive_until_its_lease_is_over(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            one, two = await broker.claim_epoch("one"), await broker.claim_epoch("two")
            now_ms = (await broker.beat("one", one, b"\x00blob of one", ttl_s=20)).now_ms
            await broker.beat("two", two, b"blob of two", ttl_s=-1)
            first, second = await broker.nodes()
            assert (first.node, first.alive, first.blob) == ("one", True, b"\x00blob of one")
            assert first.expires_ms == now_ms + 20_000
            assert (second.node, second.alive, second.blob) == ("two", False, b"blob of two")
            await broker.leave("one", one, b"goodbye")
            gone, _ = await broker.nodes()
            assert (gone.node, gone.alive, gone.blob) == ("one", False, b"goodbye")

    run(scenario())


def test_a_node_that_has_not_beaten_since_the_last_look_is_the_very_same(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            for node, ttl_s in (("away", -1), ("one", 20), ("two", 20)):
                await broker.beat(node, 1, b"first", ttl_s=ttl_s)
            before = await broker.nodes()
            await broker.beat("two", 1, b"second", ttl_s=20)
            after = await broker.nodes()
            assert [now is then for now, then in zip(after, before, strict=True)] == [False, True, False]
            assert [lease.blob for lease in after] == [b"first", b"first", b"second"]
            await broker.beat("one", 1, b"first", ttl_s=-1)
            assert [lease.alive for lease in await broker.nodes()] == [False, False, True]

    run(scenario())


def test_what_is_no_news_is_read_again_after_a_while_however_seldom_somebody_looks(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            for node in ("one", "two"):
                await broker.beat(node, 1, b"first", ttl_s=20)
            await broker.nodes()
            for node in ("one", "two"):
                await broker.beat(node, 1, b"second", ttl_s=20, news="again")
            assert [lease.blob for lease in await broker.nodes()] == [b"first", b"first"]
            monkeypatch.setattr("nova_torch.broker.node.AGAIN_S", 0.0)
            assert [lease.blob for lease in await broker.nodes()] == [b"second", b"second"]
            # of many nodes a part, each in its turn
            monkeypatch.setattr("nova_torch.broker.node.AGAIN_LEAST", 1)
            for node in ("one", "two"):
                await broker.beat(node, 1, b"third", ttl_s=20, news="again")
            looks = [sorted(lease.blob for lease in await broker.nodes()) for _ in range(2)]
            assert looks == [[b"second", b"third"], [b"third", b"third"]]

    run(scenario())


def test_news_that_could_not_be_read_are_read_with_the_next_look(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async def away(*_: object) -> None:
            raise BrokerUnavailable("away.", "")

        async with await site.connect() as broker:
            await broker.beat("one", 1, b"first", ttl_s=20)
            await broker.nodes()
            await broker.beat("one", 1, b"second", ttl_s=20)
            with monkeypatch.context() as cut_off:
                cut_off.setattr(broker._link, "command", away)
                with pytest.raises(BrokerUnavailable):
                    await broker.nodes()
            assert [lease.blob for lease in await broker.nodes()] == [b"second"]

    run(scenario())


def test_a_node_silent_for_more_than_a_day_is_forgotten(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            await broker.beat("old", 1, b"", ttl_s=-25 * 3600)
            await broker.beat("new", 1, b"", ttl_s=20)
            assert [lease.node for lease in await broker.nodes()] == ["new"]

    run(scenario())


def test_a_beat_tells_how_many_living_nodes_take_only_what_is_signed(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            assert (await broker.beat("old", 1, b"", ttl_s=20)).demanding == 0
            assert (await broker.beat("new", 1, b"", ttl_s=20, strict=True)).demanding == 1
            assert (await broker.beat("lost", 1, b"", ttl_s=-1, strict=True)).demanding == 1
            assert (await broker.beat("old", 1, b"", ttl_s=20, news="same")).demanding == 1
            assert (await broker.beat("new", 1, b"", ttl_s=20)).demanding == 0

    run(scenario())


def test_no_nodes_is_an_empty_list(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            assert await broker.nodes() == []

    run(scenario())


def test_an_earlier_epoch_of_a_node_can_neither_beat_nor_leave_nor_delete_mail(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            stale, current = await broker.claim_epoch("one"), await broker.claim_epoch("one")
            await broker.beat("one", current, b"current", ttl_s=20)
            await broker.post("one", [b"receipt"])
            [mail] = await broker.mail("one", block_s=1)
            for call in (
                broker.beat("one", stale, b"stale", ttl_s=20),
                broker.leave("one", stale),
                broker.mail_done("one", stale, [mail.entry_id]),
            ):
                with pytest.raises(NotOwner):
                    await call
            assert [lease.blob for lease in await broker.nodes()] == [b"current"]
            assert await broker.mail("one", block_s=1) == [mail]

    run(scenario())


def test_mail_comes_in_order_and_again_until_it_is_done(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            epoch = await broker.claim_epoch("one")
            await broker.post("one", [b"1", b"2", b"3"])
            await broker.post("other", [b"not ours"])
            for _ in range(2):  # as after a restart
                mail = await broker.mail("one", block_s=1)
                assert [piece.payload for piece in mail] == [b"1", b"2", b"3"]
            await broker.mail_done("one", epoch, [mail[0].entry_id, mail[2].entry_id])
            assert [piece.payload for piece in await broker.mail("one", block_s=1)] == [b"2"]
            await broker.mail_done("one", epoch, [mail[1].entry_id])
            assert await broker.mail("one", block_s=0.01) == []

    run(scenario())


def test_mail_that_is_done_is_deleted_on_the_way_to_the_next(
    site: Site,
) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            stale, epoch = await broker.claim_epoch("one"), await broker.claim_epoch("one")
            await broker.post("one", [b"1", b"2"])
            first, second = await broker.mail("one", block_s=1)
            with pytest.raises(NotOwner):
                await broker.mail("one", block_s=1, done=(stale, [first.entry_id]))
            site.ask("SCRIPT", "FLUSH")
            assert (
                await broker.mail("one", block_s=0.01, done=(epoch, [first.entry_id])) == []
            )  # it learns it
            assert await broker.mail("one", block_s=1) == [second]
            assert await broker.mail("one", block_s=0.01, done=(epoch, [second.entry_id])) == []

    run(scenario())


def test_whoever_waits_for_mail_gets_at_once_what_was_posted_together(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker, await site.connect() as sender:
            waiting = asyncio.create_task(broker.mail("one", block_s=5))
            await site.blocked()
            await sender.post("one", [b"typed", b"submitted"])
            assert [piece.payload for piece in await waiting] == [b"typed", b"submitted"]

    run(scenario())


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many commands went in each write."""
    written: list[int] = []
    for name in ("exchange", "begin"):
        write = getattr(Wires, name)

        def counted(self: Wires, commands: Sequence[Command], limit_s: float, write: Any = write) -> Any:
            written.append(len(commands))
            return write(self, commands, limit_s)

        monkeypatch.setattr(Wires, name, counted)
    return written


def test_a_beat_tells_the_generation_in_the_same_write(own_site: Site, written: list[int]) -> None:
    async def scenario() -> None:
        async with await own_site.connect() as broker:
            before = await broker.generation()
            own_site.ask("SCRIPT", "FLUSH")
            for _ in range(2):  # a server that does not know the script learns it
                written.clear()
                beat = await broker.beat("one", 5, b"", ttl_s=20)
            assert len(written) == 1
            assert beat.generation == before == await broker.generation()
            own_site.ask("FLUSHALL")
            for _ in range(2):  # and it is like no other one until somebody asks for it anew
                assert (await broker.beat("one", 5, b"", ttl_s=20)).generation != beat.generation

    run(scenario())


def test_posts_and_acknowledgements_of_one_moment_go_in_one_write(site: Site, written: list[int]) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            mine, other = Owner(node="one", epoch=1), Owner(node="two", epoch=1)
            await broker.claim("a", mine)
            site.ask("SCRIPT", "FLUSH")
            for _ in range(2):  # a server that does not know the scripts learns them
                written.clear()
                done = await asyncio.gather(
                    broker.post("sender", [b"receipt"]),
                    broker.ack("a", mine, [(Lane.MBX, "1-1")]),
                    broker.ack("a", other, [(Lane.MBX, "1-1")]),
                    return_exceptions=True,
                )
                assert list(done[:2]) == [None, None]
                assert isinstance(done[2], NotOwner)  # nobody else's fault
            assert written == [3]

    run(scenario())


def test_mail_whose_reply_was_lost_is_read_again(site: Site) -> None:
    async def scenario() -> None:
        async with (
            lossy_proxy(site.server.socket_path) as (proxy, url),
            await site.connect(url=url) as broker,
        ):
            await broker.post("one", [b"receipt"])
            proxy.lose("XREAD")
            with pytest.raises(BrokerUnavailable):
                await broker.mail("one", block_s=1)
            assert [piece.payload for piece in await broker.mail("one", block_s=1)] == [b"receipt"]

    run(scenario())


def test_the_generation_stays_while_the_data_stay(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as one, await site.connect() as two:
            assert await one.generation() == await two.generation() == await one.generation()

    run(scenario())


def test_a_wiped_broker_has_another_generation_and_can_be_claimed_again(own_site: Site) -> None:
    async def scenario() -> None:
        owner = Owner(node="one", epoch=5)
        item = Enqueue(agent="a", message_id="m1", lane=Lane.MBX, payload=b"x", limit=9)
        async with await own_site.connect() as broker:
            before = await broker.generation()
            await broker.claim("a", owner)
            await broker.enqueue([item])
            [entry] = await broker.read("a", owner, count=9)
            own_site.ask("FLUSHALL")
            assert await broker.generation() != before
            for call in (
                broker.read("a", owner, count=9),
                broker.read("a", owner, count=9, pending=True),
                broker.ack("a", owner, [(entry.lane, entry.entry_id)]),
                broker.bury("a", owner, entry, state="dead", reason="x"),
                broker.unbury("a", "1-1"),
            ):
                with pytest.raises(MailboxLost):
                    await call
            assert (await broker.enqueue([item]))[0].error == "no_agent"
            await broker.claim("a", owner)
            assert not (await broker.enqueue([item]))[0].duplicate
            assert len(await broker.read("a", owner, count=9)) == 1
            await broker.beat("one", 5, b"", ttl_s=20)
            assert len(await broker.nodes()) == 1

    run(scenario())


def test_a_mailbox_whose_stream_alone_is_gone_is_reported_lost(site: Site) -> None:
    async def scenario() -> None:
        owner = Owner(node="one", epoch=5)
        async with await site.connect() as broker:
            for lane in ("hi", "mbx"):
                await broker.claim("a", owner)
                site.ask("DEL", f"{site.prefix}:{{a:a}}:{lane}")
                with pytest.raises(MailboxLost):
                    await broker.read("a", owner, count=9)
            await broker.claim("a", owner)
            assert await broker.read("a", owner, count=9) == []

    run(scenario())


def test_info_names_the_server(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            info = await broker.info()
            assert (info.kind, info.warnings) == (site.server.kind, ())
            assert info.version
            assert info.replid

    run(scenario())


def test_two_readers_of_one_mail_share_the_flight(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            readers = [asyncio.create_task(broker.mail("one", block_s=5)) for _ in range(2)]
            await site.blocked()
            await broker.post("one", [b"receipt"])
            assert [[piece.payload for piece in await reader] for reader in readers] == [[b"receipt"]] * 2
            assert "flights=[]" in repr(broker)

    run(scenario())


def test_nothing_is_kept_of_a_wait_for_mail_that_was_given_up(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            reader = asyncio.create_task(broker.mail("one", block_s=5))
            await site.blocked()
            reader.cancel()
            await asyncio.wait([reader])
            await broker.post("one", [b"receipt"])
            async with asyncio.timeout(5):
                while "flights=[]" not in repr(broker):  # noqa: ASYNC110 - its reply is on its way
                    await asyncio.sleep(0.01)
            assert [piece.payload for piece in await broker.mail("one", block_s=0.1)] == [b"receipt"]

    run(scenario())


def test_two_daemons_of_one_name_have_its_epochs_one_after_the_other(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            epoch = await broker.claim_epoch("one", "first")
            await broker.beat("one", epoch, b"", ttl_s=30)
            assert await broker.claim_epoch("one", "first") > epoch  # its restart waits for nothing
            with pytest.raises(NotOwner):
                await broker.claim_epoch("one", "second")
            last = await broker.claim_epoch("one", "first")
            await broker.beat("one", last, b"", ttl_s=0.001)
            await asyncio.sleep(0.01)
            later = await broker.claim_epoch("one", "second")
            assert later > last
            await broker.beat("one", later, b"", ttl_s=30)
            with pytest.raises(NotOwner):
                await broker.claim_epoch("one", "first")
            await broker.leave("one", later)
            await broker.claim_epoch("one", "first")

    run(scenario())
