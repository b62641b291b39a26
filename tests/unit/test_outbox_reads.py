"""What the outbox asks the state file for each message, and what not."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nova_torch.codec import decode_message
from nova_torch.errors import Conflict, StoreFailed
from nova_torch.ulid import new_ulid
from nova_torch.values import AgentId, Hop, Message, MessageId, NodeId, Receipt, State
from noval_d.mailroom.outbox import Outbox
from noval_d.mailroom.store import Store
from tests.support.aio import run

NODE = NodeId("here")


class Counting(Store):
    reads = 0

    def read(self, sql: str, values: Any = ()) -> Any:
        self.reads += 1
        return super().read(sql, values)


def message() -> Message:
    return Message(id=MessageId(new_ulid()), sender="user:a", target="raw", body="x", created_ms=1)


def hop(name: MessageId, state: State, *, final: bool = False) -> Hop:
    return Hop(message=name, at_ms=1, node=NODE, state=state, reason="", final=final)


def test_whether_a_message_of_others_is_open_here_is_known_without_reading(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Counting(str(tmp_path / "state.db"))
        await store.open()
        earlier, ours, later = message(), message(), message()
        await Outbox(store, NODE, lambda: 1).accept(earlier, AgentId("raw"))
        outbox = Outbox(store, NODE, lambda: 1)  # as after a start
        await outbox.accept(ours, AgentId("raw"))
        assert not outbox.open(MessageId(new_ulid()))
        before = store.reads
        assert not any(outbox.open(MessageId(new_ulid())) for _ in range(9))
        assert store.reads == before
        await outbox.accept(later, AgentId("raw"))
        assert all(outbox.open(one.id) for one in (earlier, ours, later))
        await outbox.apply([hop(ours.id, State.UNCONFIRMED, final=True)])
        assert not outbox.open(ours.id)
        await outbox.apply([hop(ours.id, State.QUEUED)])  # somebody ordered it again
        assert outbox.open(ours.id)
        await store.close()

    run(scenario())


def test_whether_a_new_id_is_known_is_told_without_reading_and_an_old_one_is_found(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Counting(str(tmp_path / "state.db"))
        await store.open()
        early, late = (MessageId(new_ulid(now_ms)) for now_ms in (1_000, 2_000))
        between = replace(message(), id=MessageId(new_ulid(1_500)))
        first, second = replace(message(), id=early), replace(message(), id=late)
        await Outbox(store, NODE, lambda: 1).accept(first, AgentId("raw"))
        outbox = Outbox(store, NODE, lambda: 1)  # as after a start
        assert (await outbox.accept(first, AgentId("raw"))).id == early
        before = store.reads
        await outbox.accept(second, AgentId("raw"))
        assert store.reads == before
        for known in (first, second):
            with pytest.raises(Conflict):
                await outbox.accept(replace(known, body="another"), AgentId("raw"))
        await outbox.accept(between, AgentId("raw"))
        assert [out.message for out in outbox.recent("raw", 9)] == [first, second, between]
        await store.close()

    run(scenario())


def test_whether_anything_is_open_is_known_without_reading_once_all_is_final(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Counting(str(tmp_path / "state.db"))
        await store.open()
        outbox, ours = Outbox(store, NODE, lambda: 1), message()
        await outbox.accept(ours, AgentId("raw"))
        assert outbox.open(ours.id)
        assert outbox.any_open()
        await outbox.apply([hop(ours.id, State.SUBMITTED, final=True)])
        before = store.reads
        assert not outbox.any_open()
        assert store.reads == before
        await outbox.apply([hop(ours.id, State.QUEUED)])
        assert outbox.open(ours.id) is outbox.any_open()
        await store.close()

    run(scenario())


def test_what_was_just_accepted_is_sent_as_it_would_be_read(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Store(str(tmp_path / "state.db"))
        await store.open()
        outbox = Outbox(store, NODE, lambda: 1)
        given = replace(message(), headers={"agent": "raw", "form": "auto"}, expires_ms=9)
        await outbox.accept(given, AgentId("raw"))
        at_hand, read = outbox.unsent(9), outbox.unsent(9)
        assert at_hand == read
        assert decode_message(read[0].envelope) == given
        await store.close()

    run(scenario())


def test_what_is_final_before_it_was_sent_is_not_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Store(str(tmp_path / "state.db"))
        await store.open()
        outbox, given = Outbox(store, NODE, lambda: 1), message()
        await outbox.accept(given, AgentId("raw"))
        await outbox.apply([hop(given.id, State.FAILED, final=True)])
        (found,) = outbox.recent("raw", 9)
        assert found.message == given
        assert found.message is not given  # what was written is read
        await store.close()

    run(scenario())


class Full(Store):
    """A store whose disk is full as often as it is told."""

    failures = 0

    async def write(self, *statements: Any) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreFailed("the disk is full.")
        await super().write(*statements)


def test_nothing_is_open_of_a_message_that_the_disk_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Full(str(tmp_path / "state.db"))
        await store.open()
        outbox = Outbox(store, NODE, lambda: 1)
        assert not outbox.any_open()
        for failures in (1, 2):
            store.failures, refused = failures, message()
            for _ in range(failures):
                with pytest.raises(StoreFailed):
                    await outbox.accept(refused, AgentId("raw"))
            assert outbox.quiet
            await outbox.accept(refused, AgentId("raw"))
            assert outbox.open(refused.id)
            await outbox.apply([hop(refused.id, State.SUBMITTED, final=True)])
            assert outbox.quiet
        await store.close()

    run(scenario())


def test_of_two_that_bring_the_same_message_the_one_that_is_written_is_open(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Full(str(tmp_path / "state.db"))
        await store.open()
        outbox, both = Outbox(store, NODE, lambda: 1), message()
        assert not outbox.any_open()
        store.failures = 1
        refused, taken = await asyncio.gather(
            *(outbox.accept(both, AgentId("raw")) for _ in range(2)), return_exceptions=True
        )
        assert isinstance(refused, StoreFailed)
        assert isinstance(taken, Receipt)
        assert outbox.open(both.id)
        await store.close()

    run(scenario())
