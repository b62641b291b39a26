"""Who a mailbox belongs to, on a real server: claims, fences, what the next owner inherits."""

from __future__ import annotations

import pytest

from nova_torch.broker import Enqueue, Lane, Owner, mailbox
from nova_torch.errors import MailboxLost, NotOwner
from tests.support.aio import run
from tests.support.broker import Site
from tests.support.letters import ONE, TWO, ids, letter, places


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


def test_a_new_owner_inherits_what_was_pending_and_the_old_one_is_refused(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as old, await site.connect() as new:
            await old.claim("a", ONE)
            await old.enqueue([letter("m1"), letter("m2")])
            [held] = await old.read("a", ONE, count=1)
            await new.claim("a", TWO, over=ONE)
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


def test_a_mailbox_is_taken_from_another_node_only_by_who_names_it_and_its_epoch(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            late = Owner(node="two", epoch=9)
            await broker.claim("a", late)
            for over in (None, Owner(node="two", epoch=8), Owner(node="three", epoch=9)):
                with pytest.raises(NotOwner):
                    await broker.claim("a", Owner(node="one", epoch=1), over=over)
            await broker.claim("a", Owner(node="one", epoch=1), over=late)
            assert str(await broker.owner_of("a")) == "one|1"
            with pytest.raises(NotOwner):
                await broker.read("a", late, count=1)

    run(scenario())


def test_what_an_owner_was_about_to_type_is_marked_for_the_next(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            await broker.claim("a", ONE)
            await broker.enqueue([letter("m1"), letter("m2"), letter("m3")])
            assert [entry.holder for entry in await broker.read("a", ONE, count=9)] == ["", "", ""]
            await broker.hold("a", ONE, "m1")
            await broker.hold("a", ONE, "m2")
            await broker.hold("a", ONE, "m2", typing=False)
            await broker.claim("a", TWO, over=ONE)
            with pytest.raises(NotOwner):
                await broker.hold("a", ONE, "m3")
            read = await broker.read("a", TWO, count=9, pending=True)
            assert [(entry.message_id, entry.holder) for entry in read] == [
                ("m1", "one"),
                ("m2", ""),
                ("m3", ""),
            ]
            await broker.ack("a", TWO, [(entry.lane, entry.entry_id) for entry in read])
            await broker.enqueue([letter("m1")])  # a mark goes with its entry
            assert [entry.holder for entry in await broker.read("a", TWO, count=9)] == [""]

    run(scenario())


def test_an_owners_own_message_is_its_own_until_it_gives_it_away(site: Site) -> None:
    def own(message_id: str, origin: str) -> Enqueue:
        return Enqueue(agent="a", message_id=message_id, lane=Lane.MBX, payload=b"x", limit=9, origin=origin)

    async def scenario() -> None:
        async with await site.connect() as broker:
            await broker.claim("a", ONE)
            await broker.enqueue([own("mine", "one")])
            await broker.enqueue([own("foreign", "far")])
            await broker.claim("a", TWO, over=ONE)
            read = await broker.read("a", TWO, count=9)
            assert [(entry.message_id, entry.holder) for entry in read] == [("mine", "one"), ("foreign", "")]
            assert (await broker.enqueue([own("mine", "one")]))[
                0
            ].duplicate  # it is back, and has not typed it
            again = await broker.read("a", TWO, count=9, pending=True)
            assert [entry.holder for entry in again] == ["", ""]
            await broker.hold("a", TWO, "mine")
            await broker.enqueue([own("mine", "one")])  # what another one is typing stays marked
            again = await broker.read("a", TWO, count=9, pending=True)
            assert [entry.holder for entry in again] == ["two", ""]

    run(scenario())
