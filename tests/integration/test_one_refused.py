"""What goes wrong with one mailbox is said of its own messages only, and leaves nothing of others undone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from nova_torch.broker import Broker, Owner
from nova_torch.errors import StoreFailed
from nova_torch.login import NOBODY
from nova_torch.ulid import new_ulid
from nova_torch.values import AgentId, Message, MessageId, NodeId, State
from noval_d.delivery.item import Item
from noval_d.fleet.gone import give_up_all, waiting_for
from noval_d.fleet.saying import Saying
from noval_d.mailroom.dispatch import Dispatch
from noval_d.mailroom.inbox import Inbox
from noval_d.mailroom.outbox import Outbox
from noval_d.mailroom.store import Store
from noval_d.node.link import BrokerLink, since_boot
from tests.support.aio import run
from tests.support.broker import Site
from tests.support.letters import ONE, TWO, letter, places

HERE, A, B = NodeId("here"), AgentId("a"), AgentId("b")
NOTHING = cast("Any", None)


def message(agent: str) -> Message:
    return Message(id=MessageId(new_ulid()), sender="user:x", target=agent, body="x", created_ms=1)


class Link:
    """A link to a broker that lost no data; `meanwhile` is what happens while that is asked."""

    superseded = ""

    def __init__(self, broker: Broker, meanwhile: Callable[[], Awaitable[None]]) -> None:
        self.broker, self.owner = broker, ONE
        self._meanwhile = meanwhile

    async def lost(self, _broker: Broker) -> bool:
        await self._meanwhile()
        return False


def test_what_went_in_is_not_put_in_again_for_a_mailbox_that_another_node_has_by_now(
    site: Site, tmp_path: Path
) -> None:
    async def scenario() -> None:
        store = Store(str(tmp_path / "state.db"))
        await store.open()
        async with await site.connect() as broker:

            async def typed_and_full_again() -> None:
                await broker.ack("a", ONE, places(await broker.read("a", ONE, count=9)))
                await broker.enqueue([letter("of another sender")])

            outbox = Outbox(store, HERE, lambda: 1)
            sends = Dispatch(
                node=HERE, outbox=outbox, inbox=NOTHING, link=cast("Any", Link(broker, typed_and_full_again)),
                workers={}, clock_ms=lambda: 1, mailbox_limit=1,
                seals=cast("Any", SimpleNamespace(message=lambda _message, envelope: envelope)),
            )  # fmt: skip
            await broker.claim("a", ONE)
            await broker.claim("b", TWO)
            await outbox.accept(message("b"), B)
            await sends._round(look=False)
            await broker.ack("b", TWO, places(await broker.read("b", TWO, count=9)))
            await broker.claim("b", Owner(node="three", epoch=3), over=TWO)
            ours = [message("a"), message("b")]
            for each in ours:
                await outbox.accept(each, AgentId(each.target))
            await sends._round(look=False)
            receipts = [outbox.receipt(each.id) for each in ours]
            assert [(r.state, r.reason, r.node) for r in receipts] == [
                (State.QUEUED, "", "one"),
                (State.QUEUED, "", "three"),
            ]
            assert not sends._twins
        await store.close()

    run(scenario())


def test_what_one_mailbox_refuses_keeps_no_others_message_in_its_mailbox(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            for agent, owner in (("a", ONE), ("b", ONE), ("c", ONE)):
                await broker.claim(agent, owner)
                await broker.enqueue([letter("m", agent=agent)])
            inbox = Inbox(
                node=NodeId("one"), ledger=NOTHING, link=cast("Any", SimpleNamespace(broker=broker, owner=ONE)),
                workers={}, clock_ms=lambda: 1, answer=NOTHING, settle=NOTHING, forgotten=NOTHING,
                arrived=NOTHING, schedules=NOTHING, asked=NOTHING, seals=NOTHING, unfit=NOTHING,
                rejected=NOTHING,
            )  # fmt: skip
            for agent, state in (("a", State.FAILED), ("b", State.FAILED), ("c", State.ACKNOWLEDGED)):
                [entry] = await broker.read(agent, ONE, count=9)
                item = Item(message=message(agent), agent=AgentId(agent), arrival=0, entries=[entry])
                inbox.release(item, state, "why")
            await broker.claim("a", TWO, over=ONE)
            task = asyncio.create_task(inbox.run_letting_go())
            async with asyncio.timeout(10):
                while await broker.backlog(["a", "b", "c"]) != {"a": 1, "b": 0, "c": 0}:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert [len(await broker.dead(agent, 9)) for agent in "abc"] == [0, 1, 0]

    run(scenario())


def linked(agents: list[AgentId]) -> BrokerLink:
    return BrokerLink(
        node=HERE, url="", prefix="nova", login=lambda: NOBODY, lease_s=20, beat_s=5, keeper=None,
        saying=Saying(bytes, tuple), agents=lambda: agents, clock=since_boot,
    )  # fmt: skip


def test_a_mailbox_that_is_given_up_while_the_broker_is_away_is_nobodys_when_it_is_back(site: Site) -> None:
    async def scenario() -> None:
        async with await site.connect() as broker:
            for agent in (A, B):
                await broker.claim(agent, Owner(node=HERE, epoch=1))
            agents: list[AgentId] = []
            link = linked(agents)
            await link.release(A)
            await link.release(B)
            agents.append(B)  # it is registered again
            owner = Owner(node=HERE, epoch=2)
            await link.claims.claim_all(broker, owner, NOTHING)
            assert (await broker.owner_of(A), await broker.owner_of(B)) == (None, owner)
            await broker.claim(A, TWO)  # another node has it from now on
            await link.claims.claim_all(broker, owner, NOTHING)
            assert await broker.owner_of(A) == TWO

    run(scenario())


def test_giving_up_what_waits_for_a_lost_node_goes_on_where_it_was_broken_off(site: Site) -> None:
    async def scenario() -> None:
        settled: list[tuple[str, State]] = []

        async def settle(item: Item, state: State, _why: str) -> None:
            if failing:
                raise StoreFailed(failing.pop())
            settled.append((item.message.id, state))

        failing = ["the disk is full."]
        async with await site.connect() as broker:
            await broker.claim("a", TWO)
            ours = message("a")
            await broker.enqueue([letter(ours.id)])
            node = cast(
                "Any",
                SimpleNamespace(
                    name=HERE,
                    broker=SimpleNamespace(broker=broker),
                    guard=SimpleNamespace(seals=SimpleNamespace(opened=lambda _raw, _agent: ours)),
                    desk=SimpleNamespace(settle=settle),
                ),
            )
            with pytest.raises(StoreFailed):
                await give_up_all(node, "two", [A], "it was removed")
            assert await waiting_for(broker, "two", [A]) == {A: 1}
            assert await give_up_all(node, "two", [A], "it was removed") == 1
            assert settled == [(ours.id, State.UNCONFIRMED)]
            assert await broker.owner_of("a") is None

    run(scenario())
