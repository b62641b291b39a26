"""What a node keeps of tasks, over weeks, for a broker that loses its data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nova_torch.sections import SigningSection
from nova_torch.signing import Keyring
from nova_torch.ulid import new_ulid
from nova_torch.values import NodeId
from noval_d.mailroom.seals import Seals
from noval_d.mailroom.store import Store
from noval_d.tasks.copies import Copies
from noval_d.tasks.known import Known
from noval_d.tasks.task import Task, TaskId, new_task
from tests.support.aio import run
from tests.support.broker import Site

DAY_MS = 86_400_000
NOON = 1_800_000_000_000


def test_a_task_that_waits_for_weeks_is_put_back_and_one_that_was_forgotten_is_not(
    site: Site, tmp_path: Path
) -> None:
    """The purge took what nobody had moved for `keep_days`, open or not: a broker that was wiped then lost it."""
    now_ms = [NOON]

    def known(name: str, store: Store) -> Known:
        silent: Any = lambda *_news: None  # noqa: E731
        seals = Seals(
            NodeId(name),
            SigningSection(),
            Keyring(()),
            clock_ms=lambda: now_ms[0],
            publish=silent,
            rejected=silent,
        )
        return Known(NodeId(name), seals, Copies(store), lambda: now_ms[0])

    async def scene() -> None:
        async with await site.connect() as broker:
            here, there = Store(str(tmp_path / "here.db")), Store(str(tmp_path / "there.db"))
            for store in (here, there):
                await store.open()
            one, other = known("one", here), known("other", there)
            waits, ends = (new_task(task(f"task {n}", n)) for n in range(2))
            for each in (waits, ends):
                assert await one.write(broker, each, each)
            await other.load(broker)
            for day in range(9):
                now_ms[0] += DAY_MS
                await one.load(broker)
                await one.keep_open()
                await here.write(Copies.purge(now_ms[0] - 7 * DAY_MS))
                if day == 0:
                    over = ends.cancelled(now_ms=now_ms[0], by="user:other")
                    assert await other.write(broker, ends, over)
            assert await broker.forget_tasks([ends.id]) == 1
            site.ask("DEL", *(f"{site.prefix}:{{tk}}:{what}" for what in ("all", "open", "over")))
            assert await one.put_back(broker, since_ms=now_ms[0] - 7 * DAY_MS)
            assert list(await broker.open_tasks()) == [waits.id]
            for store in (here, there):
                await store.close()

    run(scene())


def task(title: str, number: int) -> Task:
    return Task(
        id=TaskId(new_ulid(NOON + number)), title=title, creator="user:test", origin=NodeId("one"),
        answers="@one", created_ms=NOON, since_ms=NOON,
    )  # fmt: skip
