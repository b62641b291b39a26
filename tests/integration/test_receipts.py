"""Receipts on their way to another node: what passes waits for what follows, what is final waits for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from nova_torch.broker import Mail
from nova_torch.errors import BrokerUnavailable
from nova_torch.ulid import new_ulid
from nova_torch.values import AgentId, Hop, Message, MessageId, NodeId, State
from noval_d.mailroom.outbox import Outbox
from noval_d.mailroom.receipts import LINGER_S, Receipts
from noval_d.mailroom.seals import Seals
from noval_d.mailroom.store import Store
from noval_d.node.link import BrokerLink
from tests.support.aio import run

HERE, THERE = NodeId("here"), NodeId("there")


class Broker:
    """Remembers what was posted, and when; the first `failures` posts fail."""

    def __init__(self, failures: int = 0) -> None:
        self.posted: list[tuple[str, list[State], float]] = []
        self._failures = failures

    async def post(self, node: str, payloads: list[State]) -> None:
        if self._failures:
            self._failures -= 1
            raise BrokerUnavailable("away.", "")
        self.posted.append((node, payloads, asyncio.get_running_loop().time()))


class Link:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def wait_up(self) -> Broker:
        return self._broker

    def failed(self, _error: Exception) -> None:
        """The link would connect anew."""


class Plain:
    """No seals: the state itself travels."""

    def receipt(self, _node: NodeId, hop: Hop) -> Any:
        return hop.state


def hop(state: State, *, final: bool = False) -> Hop:
    return Hop(message=MessageId(new_ulid()), at_ms=1, node=HERE, state=state, reason="", final=final)


def sending(folder: Path, broker: Broker, scenario: Callable[[Receipts], Awaitable[None]]) -> None:
    async def whole() -> None:
        store = Store(str(folder / "state.db"))
        receipts = Receipts(
            node=HERE,
            store=store,
            outbox=Outbox(store, HERE, lambda: 1),
            link=cast("BrokerLink", Link(broker)),
            seals=cast("Seals", Plain()),
            heard=lambda hop: hop,
        )
        task = asyncio.create_task(receipts.run_post())
        await scenario(receipts)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(whole())


async def posts(broker: Broker, count: int) -> None:
    while len(broker.posted) < count:  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(0.005)


def test_what_is_typed_goes_with_what_follows_and_that_waits_for_nothing(tmp_path: Path) -> None:
    broker = Broker()

    async def scenario(receipts: Receipts) -> None:
        begun = asyncio.get_running_loop().time()
        receipts.post(THERE, hop(State.HELD))
        receipts.post(THERE, hop(State.TYPED))
        receipts.post(THERE, hop(State.SUBMITTED))
        await posts(broker, 1)
        assert [(node, states) for node, states, _ in broker.posted] == [
            ("there", [State.HELD, State.TYPED, State.SUBMITTED])
        ]
        assert broker.posted[0][2] - begun < LINGER_S

    sending(tmp_path, broker, scenario)


def test_what_is_typed_is_told_soon_though_nothing_follows(tmp_path: Path) -> None:
    broker = Broker()

    async def scenario(receipts: Receipts) -> None:
        receipts.post(THERE, hop(State.TYPED))
        await posts(broker, 1)
        assert broker.posted[0][1] == [State.TYPED]

    sending(tmp_path, broker, scenario)


def test_a_receipt_that_could_not_be_sent_stays_before_those_that_came_meanwhile(tmp_path: Path) -> None:
    broker = Broker(failures=1)

    async def scenario(receipts: Receipts) -> None:
        receipts.post(THERE, hop(State.SUBMITTED))
        await asyncio.sleep(0)
        receipts.post(THERE, hop(State.ACKNOWLEDGED, final=True))
        await posts(broker, 1)
        assert [state for _, states, _ in broker.posted for state in states] == [
            State.SUBMITTED,
            State.ACKNOWLEDGED,
        ]

    sending(tmp_path, broker, scenario)


class Mailing:
    """A node's mail: what lies in it, what was said to be done, and how many reads found nothing."""

    def __init__(self, hops: list[Hop]) -> None:
        self.lying = [Mail(entry_id=f"{n}-0", payload=cast("bytes", hop)) for n, hop in enumerate(hops, 1)]
        self.done: list[str] = []
        self.reads: list[str] = []
        self.empty = asyncio.Event()
        self.more = asyncio.Event()
        """Set: the next read that finds nothing returns."""

    async def mail(
        self, _node: str, *, block_s: float, after: str = "0-0", done: tuple[int, list[str]] | None = None
    ) -> list[Mail]:
        assert block_s > 0
        self.reads.append(after)
        if done is not None:
            self.done += done[1]
            self.lying = [piece for piece in self.lying if piece.entry_id not in done[1]]
        found = [piece for piece in self.lying if int(piece.entry_id[:-2]) > int(after[:-2])]
        if not found:
            self.empty.set()
            await self.more.wait()
            self.more.clear()
        return found


class MailLink(Link):
    owner = None


class Opened(Plain):
    def opened_receipt(self, raw: Any) -> Hop:
        return cast("Hop", raw)


def reading(folder: Path, scenario: Callable[[Mailing, Outbox, Message], Awaitable[None]]) -> None:
    async def whole() -> None:
        store = Store(str(folder / "state.db"))
        await store.open()
        outbox = Outbox(store, HERE, lambda: 1)
        sent = Message(id=MessageId(new_ulid()), sender="user:a", target="raw", body="x", created_ms=1)
        await outbox.accept(sent, AgentId("raw"))
        mailing = Mailing(
            [
                Hop(message=sent.id, at_ms=2, node=THERE, state=State.TYPED, reason=""),
                Hop(message=sent.id, at_ms=3, node=THERE, state=State.SUBMITTED, reason="", final=True),
            ]
        )
        receipts = Receipts(
            node=HERE,
            store=store,
            outbox=outbox,
            link=cast("BrokerLink", MailLink(cast("Broker", mailing))),
            seals=cast("Seals", Opened()),
            heard=lambda hop: hop,
        )
        for _ in range(2):  # a start, and another one after a kill
            task = asyncio.create_task(receipts.run_mail())
            await mailing.empty.wait()
            await scenario(mailing, outbox, sent)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            mailing.empty.clear()
            receipts._taken.clear()
        await store.close()

    run(whole())


def test_a_receipt_is_told_at_once_and_stays_in_the_mail_until_it_is_durable(tmp_path: Path) -> None:
    async def scenario(mailing: Mailing, outbox: Outbox, sent: Message) -> None:
        assert outbox.receipt(sent.id).state is State.SUBMITTED
        assert mailing.done == []
        assert [hop.state for hop in outbox.hops(sent.id)] == [State.ACCEPTED, State.TYPED, State.SUBMITTED]

    reading(tmp_path, scenario)


def test_mail_is_done_after_the_next_write_and_without_one_when_nothing_more_comes(tmp_path: Path) -> None:
    rounds: list[str] = []

    async def scenario(mailing: Mailing, outbox: Outbox, sent: Message) -> None:
        if not rounds:
            other = Message(id=MessageId(new_ulid()), sender="user:a", target="raw", body="y", created_ms=1)
            await outbox.accept(other, AgentId("raw"))
        else:
            mailing.lying = [
                Mail(
                    entry_id="9-0",
                    payload=cast(
                        "bytes",
                        Hop(message=sent.id, at_ms=4, node=THERE, state=State.REPLIED, reason="", final=True),
                    ),
                )
            ]
            mailing.more.set()
            while mailing.reads[-1] != "9-0":  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0)
            assert "9-0" not in mailing.done
        rounds.append("")
        mailing.more.set()
        while mailing.lying:
            mailing.more.set()
            await asyncio.sleep(0)
        assert mailing.done[-1] == ("2-0" if len(rounds) == 1 else "9-0")

    reading(tmp_path, scenario)
