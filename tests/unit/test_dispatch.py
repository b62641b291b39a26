"""While nothing is open the outbox is not looked at; as soon as anything is, it is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from nova_torch.again import Again
from nova_torch.ulid import new_ulid
from nova_torch.values import AgentId, Hop, Message, MessageId, NodeId, State
from noval_d.mailroom import dispatch
from noval_d.mailroom.dispatch import Dispatch
from noval_d.mailroom.outbox import Outbox
from noval_d.mailroom.store import Store
from tests.support.aio import run, until

NODE = NodeId("here")
TICK_S = 0.02


class Looked(Outbox):
    looks = 0

    def any_open(self) -> bool:
        self.looks += 1
        return super().any_open()


@pytest.fixture(autouse=True)
def ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "TICK_S", TICK_S)


@contextlib.asynccontextmanager
async def dispatched(folder: Path) -> AsyncIterator[Looked]:
    """Give an outbox whose messages go nowhere: another daemon bears the node's name."""
    store = Store(str(folder / "state.db"))
    await store.open()
    outbox = Looked(store, NODE, lambda: 1)
    nothing = cast("Any", None)
    link = cast("Any", SimpleNamespace(broker=None, superseded="x"))
    sends = Dispatch(
        node=NODE, outbox=outbox, inbox=nothing, link=link, workers={}, clock_ms=lambda: 1, mailbox_limit=9,
        seals=nothing,
    )  # fmt: skip
    task = asyncio.create_task(sends.run())
    try:
        yield outbox
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.close()


async def looked(outbox: Looked) -> None:
    looks = outbox.looks
    await until(lambda: outbox.looks > looks + 2, 5.0)


async def rests(outbox: Looked) -> None:
    await until(lambda: outbox.quiet, 5.0)
    await asyncio.sleep(2 * TICK_S)
    looks = outbox.looks
    await asyncio.sleep(10 * TICK_S)
    assert outbox.looks == looks


def message() -> Message:
    return Message(id=MessageId(new_ulid()), sender="user:a", target="raw", body="x", created_ms=1)


def hop(name: MessageId, state: State, *, final: bool = False) -> Hop:
    return Hop(message=name, at_ms=1, node=NODE, state=state, reason="", final=final)


def test_what_is_open_is_looked_at_until_it_is_final_and_when_it_is_open_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with dispatched(tmp_path) as outbox:
            await rests(outbox)
            ours = message()
            await outbox.accept(ours, AgentId("raw"))
            await looked(outbox)
            await outbox.apply([hop(ours.id, State.UNCONFIRMED, final=True)])
            await rests(outbox)
            await outbox.apply([hop(ours.id, State.REPLIED, final=True)])
            await rests(outbox)
            await outbox.apply([hop(ours.id, State.FAILED, final=True)])
            await outbox.apply([hop(ours.id, State.QUEUED)])  # somebody ordered it again
            await looked(outbox)

    run(scenario())


def test_what_failed_and_was_ordered_again_while_this_node_was_away_is_looked_at(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with dispatched(tmp_path) as outbox:
            await rests(outbox)
            ours = message()
            await outbox.accept(ours, AgentId("raw"))
            await outbox.hear([hop(ours.id, State.FAILED, final=True), hop(ours.id, State.QUEUED)])
            assert outbox.open(ours.id)
            await looked(outbox)
            await outbox.hear([hop(ours.id, State.TYPED), hop(ours.id, State.SUBMITTED, final=True)])
            await rests(outbox)

    run(scenario())


def test_a_message_whose_sender_stopped_waiting_while_it_was_written_is_looked_at(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with dispatched(tmp_path) as outbox:
            await rests(outbox)
            accepting = asyncio.create_task(outbox.accept(message(), AgentId("raw")))
            await asyncio.sleep(0)
            accepting.cancel()
            await asyncio.gather(accepting, return_exceptions=True)
            await looked(outbox)

    run(scenario())


def test_what_was_open_before_the_start_is_looked_at(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Store(str(tmp_path / "state.db"))
        await store.open()
        await Outbox(store, NODE, lambda: 1).accept(message(), AgentId("raw"))
        await store.close()
        async with dispatched(tmp_path) as outbox:
            await looked(outbox)

    run(scenario())


def test_of_more_twins_than_go_at_once_the_others_go_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        store = Store(str(tmp_path / "state.db"))
        await store.open()
        outbox, nothing = Outbox(store, NODE, lambda: 1), cast("Any", None)
        sends = Dispatch(
            node=NODE, outbox=outbox, inbox=nothing, link=nothing, workers={}, clock_ms=lambda: 2000,
            mailbox_limit=9, seals=nothing,
        )  # fmt: skip
        ours = [message() for _ in range(3)]
        for one in ours:
            await outbox.accept(one, AgentId("raw"))
        sends._twins = {out.seq: Again(0.0, twin=True) for out in outbox.unsent(9)}
        await outbox.advance([hop(one.id, State.QUEUED) for one in ours])
        monkeypatch.setattr(dispatch, "BATCH", 2)
        assert [[out.message.id for out in sends._due_twins()] for _ in range(3)] == [
            [ours[0].id, ours[1].id],
            [ours[2].id],
            [],
        ]
        await store.close()

    run(scenario())
