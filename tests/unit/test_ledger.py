"""Outbox and ledger: a final state is final, a repeat is known, and a faster receipt is kept."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from nova_torch.codec import encode_message
from nova_torch.errors import Conflict, MessageNotFound
from nova_torch.ulid import new_ulid
from nova_torch.values import AgentId, Hop, Message, MessageId, NodeId, State
from noval_d.delivery.item import restored
from noval_d.mailroom.ledger import Ledger, Phase
from noval_d.mailroom.outbox import Outbox
from noval_d.mailroom.store import Store, Values
from tests.support.aio import run

NODE, AGENT = NodeId("n"), AgentId("a")


def message(body: str = "hello", message_id: str | None = None) -> Message:
    made = MessageId(message_id or new_ulid())
    return Message(id=made, sender="user:x", target="a", body=body, created_ms=1)


def hop(of: Message, state: State, *, final: bool = False) -> Hop:
    return Hop(message=of.id, at_ms=2, node=NODE, state=state, final=final)


def within(folder: Path, scenario: Callable[[Store, Outbox, Ledger], Awaitable[None]]) -> None:
    async def whole() -> None:
        store = Store(str(folder / "state.db"))
        await store.open()
        await scenario(store, Outbox(store, NODE, lambda: 10), Ledger(store))
        await store.close()

    run(whole())


def test_the_same_id_is_the_same_message_and_another_body_a_conflict(tmp_path: Path) -> None:
    async def scenario(_store: Store, outbox: Outbox, _ledger: Ledger) -> None:
        one = message()
        assert (await outbox.accept(one, AGENT)).state is State.ACCEPTED
        await outbox.apply([hop(one, State.SUBMITTED, final=True)])
        assert (await outbox.accept(one, AGENT)).state is State.SUBMITTED
        with pytest.raises(Conflict):
            await outbox.accept(message("other", one.id), AGENT)
        with pytest.raises(MessageNotFound):
            outbox.receipt(MessageId(new_ulid()))

    within(tmp_path, scenario)


def test_a_final_state_is_never_left_but_by_an_order(tmp_path: Path) -> None:
    async def scenario(_store: Store, outbox: Outbox, _ledger: Ledger) -> None:
        one = message()
        await outbox.accept(one, AGENT)
        await outbox.apply([hop(one, State.UNCONFIRMED, final=True)])
        await outbox.apply([hop(one, State.HELD)])
        await outbox.advance([hop(one, State.QUEUED)])
        await outbox.resend_all()
        assert outbox.receipt(one.id).state is State.UNCONFIRMED
        assert outbox.depth() == 0
        await outbox.apply([hop(one, State.QUEUED)])  # what the owner says when somebody orders it again
        assert outbox.receipt(one.id).state is State.QUEUED
        assert outbox.depth() == 1
        await outbox.apply([hop(one, State.SUBMITTED, final=True)])
        await outbox.apply([hop(one, State.QUEUED)])
        assert outbox.receipt(one.id).state is State.SUBMITTED  # a delivery is never taken back

    within(tmp_path, scenario)


def test_a_receipt_that_is_faster_than_the_note_of_sending_is_kept(tmp_path: Path) -> None:
    async def scenario(_store: Store, outbox: Outbox, _ledger: Ledger) -> None:
        one = message()
        await outbox.accept(one, AGENT)
        await outbox.apply([hop(one, State.TYPED)])
        await outbox.advance([hop(one, State.QUEUED)])
        assert outbox.receipt(one.id).state is State.TYPED

    within(tmp_path, scenario)


def test_what_is_unsent_comes_back_in_the_order_it_was_accepted(tmp_path: Path) -> None:
    async def scenario(_store: Store, outbox: Outbox, _ledger: Ledger) -> None:
        sent = [message(str(n)) for n in range(5)]
        for one in sent:
            await outbox.accept(one, AGENT)
        await outbox.advance([hop(one, State.QUEUED) for one in sent[:3]])
        assert [out.message.body for out in outbox.unsent(10)] == ["3", "4"]
        await outbox.resend_all()
        assert [out.message.body for out in outbox.unsent(10)] == ["0", "1", "2", "3", "4"]

    within(tmp_path, scenario)


def test_the_list_of_the_undelivered_ends_with_the_newest(tmp_path: Path) -> None:
    async def scenario(store: Store, _outbox: Outbox, ledger: Ledger) -> None:
        for number in range(3):
            one = message(str(number))
            received = ledger.received(one, AGENT, encode_message(one), 1)
            await store.write(received, Ledger.settled(one.id, State.DEAD, "why", 3))
        assert [found.message.body for found, _ in ledger.undelivered(None, 2)] == ["1", "2"]

    within(tmp_path, scenario)


def test_the_ledger_knows_how_far_each_message_got(tmp_path: Path) -> None:
    async def scenario(store: Store, _outbox: Outbox, ledger: Ledger) -> None:
        one = message()
        received = ledger.received(one, AGENT, encode_message(one), 1)
        await store.write(received, Ledger.typing(one.id, 0, "pane", 2))
        await store.write(received)  # a repeat
        (entry,) = ledger.unsettled()
        assert (entry.phase, entry.pane, entry.token) == (Phase.TYPING, "pane", f"{one.id}.0")
        await store.write(Ledger.settled(one.id, State.UNCONFIRMED, "why", 3))
        assert ledger.unsettled() == []
        assert [found.message for found, _ in ledger.undelivered("a", 5)] == [one]
        assert ledger.undelivered("b", 5) == []
        await store.write(Ledger.dropped(one.id, 4))
        assert ledger.undelivered(None, 5) == []
        known = ledger.find(one.id)
        assert known is not None
        assert known.phase is Phase.SETTLED

    within(tmp_path, scenario)


def test_no_question_walks_through_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour of traffic made a list of dead letters take ten seconds on the loop, before it had an index."""
    asked: list[tuple[str, Values]] = []

    async def scenario(store: Store, outbox: Outbox, ledger: Ledger) -> None:
        plain = store.read

        def read(sql: str, values: Values = ()) -> list[sqlite3.Row]:
            asked.append((sql, values))
            return plain(sql, values)

        monkeypatch.setattr(store, "read", read)
        one = message()
        await outbox.accept(one, AGENT)
        outbox.unsent(5, skip=[AgentId("b")], after=1)
        outbox.near([AGENT])
        outbox.at(1)
        outbox.of(AGENT, 5)
        outbox.silent(5, 5)
        outbox.open(one.id)
        outbox.handed_on(one.id)
        outbox.ownerless()
        outbox.depth()
        outbox.receipt(one.id)
        ledger.find(one.id)
        ledger.unsettled()
        ledger.recent(AGENT, 5)
        ledger.undelivered("a", 5)
        ledger.undelivered(None, 5)
        for sql, values in asked:
            plan = [row["detail"] for row in plain(f"EXPLAIN QUERY PLAN {sql}", values)]
            assert not [step for step in plan if step.startswith("SCAN") and "USING INDEX" not in step], sql

    within(tmp_path, scenario)
    assert len(asked) >= 15


def test_what_a_hook_proved_is_known_until_the_message_is_given_back_or_the_prompt_was_anothers(
    tmp_path: Path,
) -> None:
    async def scenario(store: Store, _outbox: Outbox, ledger: Ledger) -> None:
        taken_back = (Ledger.unproven, lambda message_id, now_ms: Ledger.untyped(message_id, 0, now_ms))
        for take_back in taken_back:
            one = message()
            await store.note(Ledger.proven(one.id, "", 1))
            assert ledger.find(one.id) is None
            await store.write(ledger.first_typing(one, AGENT, encode_message(one), 0, "pane", 1))
            assert not restored(ledger.unsettled()[0]).acknowledged
            await store.note(Ledger.proven(one.id, "beside", 2))
            (known,) = map(restored, ledger.unsettled())
            assert (known.phase, known.acknowledged, known.beside) == (Phase.TYPING, True, "beside")
            await store.note(take_back(one.id, 3))
            assert not restored(ledger.unsettled()[0]).acknowledged
            await store.write(Ledger.settled(one.id, State.SUBMITTED, "", 4))
            await store.note(Ledger.proven(one.id, "", 5))
            assert ledger.find(one.id).state is State.SUBMITTED  # type: ignore[union-attr]

    within(tmp_path, scenario)


def test_a_message_is_found_whatever_the_order_of_the_ids_and_whoever_wrote_it(tmp_path: Path) -> None:
    """Of an id later than all it is not looked: it must be one that nobody has begun to write."""

    async def scenario(store: Store, _outbox: Outbox, ledger: Ledger) -> None:
        first, second, third, fourth = (message(str(number)) for number in range(4))
        begun = store.begin(ledger.first_typing(third, AGENT, encode_message(third), 0, "pane", 1))
        assert ledger.find(first.id) is None  # looked for the first time while that is being written
        await begun
        await store.write(ledger.received(second, AGENT, encode_message(second), 1))
        assert [ledger.find(one.id) is not None for one in (first, second, third, fourth)] == [
            False, True, True, False,
        ]  # fmt: skip
        await store.write(ledger.received(fourth, AGENT, encode_message(fourth), 1))
        later = Ledger(store)
        assert later.find(fourth.id) is not None
        assert later.find(fourth.id) == ledger.find(fourth.id)
        assert later.find(first.id) is None

    within(tmp_path, scenario)
