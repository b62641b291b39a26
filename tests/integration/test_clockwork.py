"""The loop that sends, on a real state file and under a clock that the test sets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from nova_torch.broker import Kept as BrokersOwn
from nova_torch.config import Config
from nova_torch.errors import BrokerUnavailable, StoreFailed
from nova_torch.values import AgentId, NodeId
from noval_d.control.hub import Hub
from noval_d.mailroom.outbox import Outbox
from noval_d.mailroom.store import Statement, Store
from noval_d.schedule import clockwork
from noval_d.schedule.clockwork import Clockwork
from noval_d.schedule.schedule import Mark, Schedule, pack, unpack
from tests.support.aio import run
from tests.support.schedules import BEGAN, cron, every, once, seals

MINUTE, HOUR, YEAR = 60_000, 3_600_000, 365 * 86_400_000


class Stage:
    """What the loop sees of a node: no broker, one agent, and the clock `now_ms`."""

    def __init__(self, store: Store) -> None:
        self.now_ms = BEGAN
        self.store = store
        self.outbox = Outbox(store, NodeId("one"), lambda: self.now_ms)
        self.node = SimpleNamespace(
            name=NodeId("one"),
            config=Config(),
            store=store,
            outbox=self.outbox,
            roster=SimpleNamespace(agents={AgentId("alice"): None}),
            broker=SimpleNamespace(broker=None, owner=None),
            events=Hub[Any](),
            stopping=asyncio.Event(),
            guard=SimpleNamespace(seals=seals(NodeId("one"))),
            clock_ms=lambda: self.now_ms,
        )
        self.clockwork = Clockwork(cast("Any", self.node))
        self.events: list[tuple[str, int]] = []
        self.node.events.publish = lambda event: self.events.append(
            (event["event"].removeprefix("schedule."), event["due_ms"] - BEGAN)
        )

    def sent(self) -> list[str]:
        rows = self.store.read("SELECT id FROM outbox ORDER BY seq")
        return [row["id"] for row in rows]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(45):
            while not condition():  # noqa: ASYNC110 - the loop sleeps by the clock of the test
                await asyncio.sleep(0.005)

    async def settle(self) -> None:
        """Let the loop look a few times."""
        for _ in range(6):
            self.clockwork.wake()
            await asyncio.sleep(0.01)


def staged(tmp_path: Path, scenario: Callable[[Stage], Any], *schedules: Schedule) -> None:
    async def whole() -> None:
        store = Store(str(tmp_path / "state.db"))
        await store.open()
        stage = Stage(store)
        await stage.clockwork.book.write(*schedules)
        task = asyncio.create_task(stage.clockwork.run())
        try:
            await scenario(stage)
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await store.close()

    run(whole())


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock is looked at every 20 ms instead of every ten seconds."""
    monkeypatch.setattr(clockwork, "RECHECK_S", 0.02)
    monkeypatch.setattr(clockwork, "RETRY_S", 0.02)


def test_a_clock_that_is_set_forward_is_noticed_though_nothing_wakes_the_loop(tmp_path: Path) -> None:
    soon = once(BEGAN + 30 * MINUTE)

    async def scenario(stage: Stage) -> None:
        await asyncio.sleep(0.05)
        assert stage.sent() == []
        stage.now_ms += 40 * MINUTE
        await stage.until(lambda: stage.events == [("fired", 30 * MINUTE)])
        assert stage.sent() == [soon.id]

    staged(tmp_path, scenario, soon)


def test_while_a_message_waits_no_other_of_its_schedule_is_sent(tmp_path: Path) -> None:
    tick = every(MINUTE)

    async def scenario(stage: Stage) -> None:
        for _ in range(5):
            stage.now_ms += MINUTE
            await stage.settle()
        assert len(stage.sent()) == 1
        assert stage.events == [("fired", MINUTE), *(("missed", n * MINUTE) for n in range(2, 6))]
        await delivered(stage)
        stage.now_ms += MINUTE
        await stage.until(lambda: len(stage.sent()) == 2)

    staged(tmp_path, scenario, tick)


def delivered(stage: Stage) -> Any:
    """Say of everything in the outbox that it was typed, so that the next time is not left out."""
    return stage.store.write(Statement("UPDATE outbox SET state = 'submitted', final = 1"))


def test_after_a_long_way_back_times_that_were_sent_stay_sent_and_new_ones_are(tmp_path: Path) -> None:
    tick = every(10 * MINUTE)

    async def tell(stage: Stage, at_ms: int) -> None:
        stage.now_ms = at_ms
        await stage.settle()
        await delivered(stage)

    async def scenario(stage: Stage) -> None:
        for turn in range(1, 19):  # three hours
            await tell(stage, BEGAN + turn * 10 * MINUTE)
        ids = stage.sent()
        assert len(ids) == len(set(ids)) == 18
        for turn in range(6, 19):  # and two of them again
            await tell(stage, BEGAN + turn * 10 * MINUTE)
        assert stage.sent() == ids
        await tell(stage, BEGAN + YEAR)  # a clock gone wrong
        assert len(stage.sent()) == 19
        for turn in range(19, 22):  # and right again: the schedule is not silent for a year
            await tell(stage, BEGAN + turn * 10 * MINUTE)
        await tell(stage, BEGAN + 22 * 10 * MINUTE)
        assert len(stage.sent()) >= 22
        assert len(set(stage.sent())) == len(stage.sent())

    staged(tmp_path, scenario, tick)


def test_an_older_copy_of_a_schedule_sends_nothing_again(tmp_path: Path) -> None:
    single, tick = once(BEGAN + MINUTE), every(MINUTE)

    async def scenario(stage: Stage) -> None:
        stage.now_ms += MINUTE
        await stage.until(lambda: len(stage.sent()) == 2)
        await delivered(stage)
        for old in (single, tick):
            stage.clockwork.book._keep(old, BEGAN)  # as a state file that was put back would
        await stage.settle()
        assert len(stage.sent()) == 2
        assert [event for event, _ in stage.events] == ["fired", "fired"]
        known = stage.clockwork.book.get(single.id)
        assert known is not None
        assert known.mark.ended == "finished"

    staged(tmp_path, scenario, single, tick)


def test_a_full_disk_delays_a_message_and_does_not_repeat_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    single = once(BEGAN + MINUTE)
    real, failures = Outbox.accept, [3]

    async def failing(self: Outbox, *args: Any, **more: Any) -> Any:
        if failures[0]:
            failures[0] -= 1
            raise StoreFailed("the disk is full.")
        return await real(self, *args, **more)

    monkeypatch.setattr(Outbox, "accept", failing)

    async def scenario(stage: Stage) -> None:
        stage.now_ms += MINUTE
        await stage.until(lambda: stage.events == [("fired", MINUTE)])
        await stage.settle()
        assert (failures, stage.sent()) == ([0], [single.id])

    staged(tmp_path, scenario, single)


def test_without_the_broker_what_was_added_elsewhere_waits(tmp_path: Path) -> None:
    foreign, own = once(BEGAN + MINUTE, origin=NodeId("two")), once(BEGAN + MINUTE)

    async def scenario(stage: Stage) -> None:
        stage.now_ms += MINUTE
        await stage.until(lambda: stage.sent() == [own.id])
        await stage.settle()
        assert stage.sent() == [own.id]

    staged(tmp_path, scenario, foreign, own)


class Kept:
    """A broker that keeps what is put in, and nothing else."""

    def __init__(self, *schedules: Schedule) -> None:
        self.marks = {each.id: each for each in schedules}
        self.down = 0

    async def put_schedules(self, _agent: str, kept: Any, *, ring: bool = False) -> None:
        if self.down:
            self.down -= 1
            raise BrokerUnavailable("away.")
        for each in kept:
            given = unpack(each.asked, each.mark)
            self.marks[given.id] = self.marks.get(given.id, given).later(given.mark)

    async def schedules(self, _agents: Any) -> list[Any]:
        return [BrokersOwn(id=e.id, asked=pack(e), mark=e.mark.packed()) for e in self.marks.values()]

    async def schedule_marks(self, _agent: str, _owner: Any, ids: list[Any]) -> dict[str, str]:
        return {each: self.marks[each].mark.packed() for each in ids if each in self.marks}


def with_broker(stage: Stage, broker: Kept) -> None:
    stage.node.broker = SimpleNamespace(
        broker=broker, owner="one|1", lease_ok=True, claimed=lambda _agent: True, failed=lambda _error: None
    )
    stage.clockwork.together()


def test_a_message_for_an_agent_of_no_node_is_missed_when_its_time_is_over(tmp_path: Path) -> None:
    nobody = AgentId("nobody")
    lost, sent = once(BEGAN + MINUTE, agent=nobody), once(BEGAN + MINUTE, agent=nobody)
    finished = sent.marked(ended="finished", fired=1)

    async def scenario(stage: Stage) -> None:
        broker = Kept(lost, sent)
        with_broker(stage, broker)
        stage.now_ms += MINUTE + HOUR
        await stage.settle()
        assert stage.events == []
        broker.marks[sent.id] = finished  # its owner, elsewhere
        stage.now_ms += MINUTE + 1
        await stage.until(lambda: stage.events == [("missed", MINUTE)])
        await stage.until(lambda: broker.marks[lost.id].mark.ended == "missed")
        known = stage.clockwork.book.get(sent.id)
        assert known is not None
        assert known.mark.ended == "finished"

    staged(tmp_path, scenario, lost, sent)


def test_what_was_decided_or_cancelled_elsewhere_is_not_sent(tmp_path: Path) -> None:
    cancelled, done, good = (once(BEGAN + MINUTE) for _ in range(3))

    async def scenario(stage: Stage) -> None:
        with_broker(stage, broker := Kept())
        await stage.until(lambda: len(broker.marks) == 3)
        broker.marks[cancelled.id] = cancelled.marked(ended="cancelled")  # no bell tells of it
        broker.marks[done.id] = done.marked(ended="finished")
        stage.now_ms += MINUTE
        await stage.until(lambda: stage.sent() == [good.id])
        await stage.settle()
        assert stage.sent() == [good.id]

    staged(tmp_path, scenario, cancelled, done, good)


def test_a_message_is_held_back_until_the_broker_was_told_and_goes_on_when_it_cannot_be(
    tmp_path: Path,
) -> None:
    first, second = once(BEGAN + MINUTE), once(BEGAN + 2 * MINUTE)

    async def scenario(stage: Stage) -> None:
        with_broker(stage, broker := Kept())
        told = asyncio.Event()
        put = broker.put_schedules

        async def slow(agent: str, kept: Any, **options: Any) -> None:
            await told.wait()
            await put(agent, kept, **options)

        await stage.until(lambda: len(broker.marks) == 2)
        broker.put_schedules = slow  # type: ignore[method-assign,assignment]
        stage.now_ms += MINUTE
        await stage.until(lambda: stage.sent() == [first.id])
        assert stage.outbox.unsent(10) == []
        assert stage.outbox.near([AgentId("alice")]) == []
        told.set()
        await stage.until(lambda: [str(out.message.id) for out in stage.outbox.unsent(10)] == [first.id])
        broker.down = 1
        stage.now_ms += MINUTE
        await stage.until(lambda: len(stage.outbox.unsent(10)) == 2)
        await stage.until(lambda: broker.marks[second.id].mark.ended == "finished")

    staged(tmp_path, scenario, first, second)


def test_what_a_node_cannot_make_sense_of_keeps_nothing_else_from_being_sent(tmp_path: Path) -> None:
    strange = cron("0 9 * * *", "Mars/Olympus_Mons", BEGAN)
    wrong = cron("99 99 * * *", "UTC", BEGAN)
    huge = once(BEGAN + MINUTE, body="x" * (1 << 20) + "y")
    good = once(BEGAN + MINUTE)

    async def scenario(stage: Stage) -> None:
        stage.now_ms += MINUTE
        await stage.until(lambda: stage.sent() == [good.id])
        await stage.until(lambda: ("missed", MINUTE) in stage.events)
        failed = stage.clockwork.book.get(huge.id)
        assert failed is not None
        assert (failed.mark.ended, failed.mark.note[:18]) == ("failed", "the body has 10485")

    staged(tmp_path, scenario, strange, wrong, huge, good)


def test_the_state_file_brings_schedules_back_and_forgets_what_was_over_long_ago(tmp_path: Path) -> None:
    single, tick = once(BEGAN + MINUTE), every(MINUTE)

    async def scenario(stage: Stage) -> None:
        stage.now_ms += MINUTE
        await stage.until(lambda: len(stage.sent()) == 2)
        await stage.until(lambda: all(schedule.mark.fired for schedule in stage.clockwork.book.all()))
        again = Clockwork(cast("Any", stage.node)).book
        again.load()
        assert [schedule.mark for schedule in again.all()] == [s.mark for s in stage.clockwork.book.all()]
        await again.write(tick.marked(ended="cancelled", done_ms=BEGAN + 2 * MINUTE))
        assert again.old(HOUR) == []
        stage.now_ms += 2 * HOUR
        assert [schedule.id for schedule in again.old(HOUR)] == [single.id]
        stage.now_ms += 2 * YEAR
        assert {schedule.id for schedule in again.old(HOUR)} == {single.id, tick.id}
        await again.forget(again.all())
        assert stage.store.read("SELECT * FROM schedules") == []
        assert Mark().packed() < tick.mark.packed()

    staged(tmp_path, scenario, single, tick)
