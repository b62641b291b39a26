"""Receipts on their way to another node: what passes waits for what follows, what is final waits for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from nova_torch.errors import BrokerUnavailable
from nova_torch.ulid import new_ulid
from nova_torch.values import Hop, MessageId, NodeId, State
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
        receipts = Receipts(
            node=HERE,
            outbox=Outbox(Store(str(folder / "state.db")), HERE, lambda: 1),
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
