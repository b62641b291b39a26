"""What is written of a message's fate, and what of it waits for the disk."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nova_torch.errors import StoreFailed
from nova_torch.ulid import new_ulid
from nova_torch.values import AgentId, Hop, Message, MessageId, NodeId, State
from noval_d.delivery.item import Item
from noval_d.mailroom.desk import Desk
from noval_d.mailroom.ledger import Ledger, Phase
from noval_d.mailroom.outbox import Outbox
from noval_d.mailroom.store import Store
from tests.support.aio import run

HERE, ELSEWHERE, AGENT = NodeId("here"), NodeId("elsewhere"), AgentId("a")


class Stage:
    """A desk over a real state file, and what it told others."""

    def __init__(self, store: Store) -> None:
        self.store, self.ledger = store, Ledger(store)
        self.outbox = Outbox(store, HERE, lambda: 10)
        self.posted: list[tuple[str, State]] = []
        self.released: list[str] = []
        performances: Any = SimpleNamespace(settled=lambda *_: None)
        fence: Any = SimpleNamespace(own=lambda item: item.message.origin == HERE, begin=self._begin)
        self.desk = Desk(
            store, self.outbox, self.ledger, HERE, lambda: 10, self._post,
            lambda item, _state, _why: self.released.append(item.message.id), performances, fence,
        )  # fmt: skip

    async def _begin(self, _item: Item) -> None:
        pass

    def _post(self, message: Message, hop: Hop) -> None:
        self.posted.append((message.id, hop.state))

    async def given(self, origin: NodeId) -> Item:
        """Return a message from there; one from here is in the outbox."""
        message = Message(
            id=MessageId(new_ulid()), sender="user:x", target=AGENT, body="hello", created_ms=1,
            headers={"origin": origin, "agent": AGENT},
        )  # fmt: skip
        if origin == HERE:
            await self.outbox.accept(message, AGENT)
        return Item(message=message, agent=AGENT, arrival=0)

    async def waits_for_the_disk(self, begin: Callable[[], Awaitable[None]]) -> bool:
        """Tell whether `begin()` is over only when the thread that waits for the disk has done its part."""
        kept, self.store._queue = self.store._queue, queue.SimpleQueue()
        task = asyncio.ensure_future(begin())
        for _ in range(20):
            await asyncio.sleep(0)
        done = task.done()
        while not self.store._queue.empty():
            kept.put(self.store._queue.get())
        self.store._queue = kept
        await task
        return not done


def within(tmp_path: Path, scenario: Callable[[Stage], Awaitable[None]]) -> None:
    async def body() -> None:
        store = Store(str(tmp_path / "state.db"))
        await store.open()
        await scenario(Stage(store))
        await store.close()

    run(body())


@pytest.mark.parametrize("state", [State.SUBMITTED, State.ACKNOWLEDGED, State.UNCONFIRMED])
def test_what_became_of_a_typed_message_from_elsewhere_is_told_without_waiting_for_the_disk(
    tmp_path: Path, state: State
) -> None:
    async def scenario(stage: Stage) -> None:
        item = await stage.given(ELSEWHERE)
        assert await stage.waits_for_the_disk(lambda: stage.desk.typing(item, "%1"))
        assert not await stage.waits_for_the_disk(lambda: stage.desk.settle(item, state, "why"))
        assert stage.posted == [(item.message.id, state)]
        assert stage.released == [item.message.id]
        known = Ledger(stage.store).find(item.message.id)
        assert known is not None
        assert (known.phase, known.state, known.reason) == (Phase.SETTLED, state, "why")

    within(tmp_path, scenario)


def test_the_proof_of_the_composer_is_told_so_too_and_the_verdict_behind_it(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        item = await stage.given(ELSEWHERE)
        await stage.desk.typing(item, "%1")
        assert not await stage.waits_for_the_disk(lambda: stage.desk.entered(item))
        assert not await stage.waits_for_the_disk(lambda: stage.desk.settle(item, State.ACKNOWLEDGED))
        assert [state for _, state in stage.posted] == [State.SUBMITTED, State.ACKNOWLEDGED]

    within(tmp_path, scenario)


@pytest.mark.parametrize("state", [State.FAILED, State.EXPIRED, State.DEAD])
def test_a_message_that_was_not_typed_is_refused_only_when_that_is_durable(
    tmp_path: Path, state: State
) -> None:
    """Else it could be typed after a crash of the machine: its mailbox has let it go."""

    async def scenario(stage: Stage) -> None:
        item = await stage.given(ELSEWHERE)
        assert await stage.waits_for_the_disk(lambda: stage.desk.settle(item, state, "why"))
        again = await stage.given(ELSEWHERE)
        await stage.desk.typing(again, "%1")
        again.phase = Phase.RECEIVED  # the guard refused its paste
        assert await stage.waits_for_the_disk(lambda: stage.desk.settle(again, state, "why"))

    within(tmp_path, scenario)


def test_what_this_node_has_promised_its_own_sender_waits_for_the_disk(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        item = await stage.given(HERE)
        await stage.desk.typing(item, "%1")
        assert await stage.waits_for_the_disk(lambda: stage.desk.settle(item, State.SUBMITTED))
        assert stage.outbox.receipt(item.message.id).final

    within(tmp_path, scenario)


def test_what_cannot_be_noted_is_not_told(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        item = await stage.given(ELSEWHERE)
        await stage.desk.typing(item, "%1")
        (tmp_path / "state.db").rename(tmp_path / "elsewhere.db")
        with pytest.raises(StoreFailed, match="removed, moved or replaced"):
            await stage.desk.settle(item, State.SUBMITTED)
        assert (stage.posted, stage.released) == ([], [])

    within(tmp_path, scenario)
