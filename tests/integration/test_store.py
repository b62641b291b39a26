"""The state file: grouped writes, a bad one among good ones, a locked file, and the end."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import pytest

from nova_torch.errors import StoreFailed
from noval_d.mailroom.store import LOCK_MS, Statement, Store
from tests.support.aio import run

FULL, NORMAL = 2, 1
PUT = "INSERT INTO agents (agent, spec) VALUES (?, ?)"


def put(name: str) -> Statement:
    return Statement(PUT, (name, b""))


def names(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return [row[0] for row in connection.execute("SELECT agent FROM agents ORDER BY rowid")]
    finally:
        connection.close()


def test_many_writes_at_once_are_all_durable_in_the_order_of_the_calls(tmp_path: Path) -> None:
    async def work() -> None:
        store = Store(str(tmp_path / "db"))
        await store.open()
        await asyncio.gather(*(store.write(put(f"a{n}"), put(f"b{n}")) for n in range(200)))
        assert names(tmp_path / "db") == [f"{letter}{n}" for n in range(200) for letter in "ab"]
        await store.close()

    run(work())


def test_a_bad_write_fails_alone_and_leaves_nothing_behind(tmp_path: Path) -> None:
    async def work() -> None:
        store = Store(str(tmp_path / "db"))
        await store.open()
        outcome = await asyncio.gather(
            store.write(put("first")),
            store.write(put("half"), put("first")),
            store.write(put("last")),
            return_exceptions=True,
        )
        assert outcome[0] is None
        assert isinstance(outcome[1], StoreFailed)
        assert outcome[2] is None
        assert [row["agent"] for row in store.read("SELECT agent FROM agents")] == ["first", "last"]
        assert store.failing == ""
        await store.write(put("after"))
        await store.close()

    run(work())
    assert names(tmp_path / "db") == ["first", "last", "after"]


def test_a_file_that_another_process_has_locked_is_waited_for_and_the_loop_goes_on(tmp_path: Path) -> None:
    async def work() -> None:
        store = Store(str(tmp_path / "db"))
        await store.open()
        other = sqlite3.connect(tmp_path / "db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.ensure_future(store.write(put("patient")))
        longest_s, before = 0.0, time.monotonic()
        for _ in range(20):
            await asyncio.sleep(0.01)
            now = time.monotonic()
            longest_s, before = max(longest_s, now - before), now
        assert not writing.done()
        assert longest_s < LOCK_MS / 2000, "the loop waited for the lock"
        other.execute("ROLLBACK")
        other.close()
        await writing
        await store.close()

    run(work())
    assert names(tmp_path / "db") == ["patient"]


def test_a_slow_statement_leaves_the_loop_free_and_later_writes_in_order(tmp_path: Path) -> None:
    count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) "
    slow = Statement(
        f"{count} INSERT INTO agents (agent, spec) SELECT 'slow', x'' FROM n WHERE i = 1", slow=True
    )

    async def work() -> None:
        store = Store(str(tmp_path / "db"))
        await store.open()
        writing = [store.begin(slow), store.begin(put("after"))]
        turns = 0
        while not writing[0].done():
            await asyncio.sleep(0.005)
            turns += 1
        assert turns > 5
        await asyncio.gather(*writing)
        await store.close()

    run(work())
    assert names(tmp_path / "db") == ["slow", "after"]


def test_close_finishes_what_was_begun(tmp_path: Path) -> None:
    async def work() -> None:
        store = Store(str(tmp_path / "db"))
        await store.open()
        begun = [store.begin(put(f"{n}")) for n in range(50)]
        await asyncio.sleep(0)
        begun += [store.begin(put(f"{n}")) for n in range(50, 100)]
        await store.close()
        assert all(one.done() and one.exception() is None for one in begun)
        with pytest.raises(StoreFailed):
            store.begin(put("late"))

    run(work())
    assert names(tmp_path / "db") == [f"{n}" for n in range(100)]


def test_a_note_is_there_at_once_and_after_a_killed_process_without_a_commit_of_the_thread(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        store = Store(str(tmp_path / "state.db"))
        await store.open()
        queued, store._queue = store._queue, queue.SimpleQueue()
        await store.note(put("a"))
        assert [row["agent"] for row in store.read("SELECT agent FROM agents")] == ["a"]
        other = sqlite3.connect(tmp_path / "state.db")  # what the next start finds
        assert other.execute("SELECT agent FROM agents").fetchall() == [("a",)]
        other.close()
        store._queue = queued
        await store.close()

    run(scenario())


def test_a_note_beside_a_write_is_written_behind_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Store(str(tmp_path / "state.db"))
        await store.open()
        first = store.begin(put("a"))
        await store.note(Statement("UPDATE agents SET paused = 1 WHERE agent = 'a'"))
        assert first.done()
        assert store.read("SELECT paused FROM agents")[0]["paused"] == 1
        await store.close()

    run(scenario())


def test_a_note_that_cannot_be_written_is_told_and_leaves_nothing_behind(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Store(str(tmp_path / "state.db"))
        await store.open()
        await store.note(put("a"))
        with pytest.raises(StoreFailed, match="UNIQUE"):
            await store.note(put("b"), put("a"))
        assert [row["agent"] for row in store.read("SELECT agent FROM agents")] == ["a"]
        (tmp_path / "state.db").rename(tmp_path / "elsewhere.db")
        with pytest.raises(StoreFailed, match="removed, moved or replaced"):
            await store.note(put("c"))
        await store.close()

    run(scenario())


def waits(store: Store) -> bool:
    """Tell whether the connection's commits wait for the disk now, and checkpoint."""
    assert store._writer is not None
    found = [
        store._writer.execute(f"PRAGMA {one}").fetchone()[0] for one in ("synchronous", "wal_autocheckpoint")
    ]
    assert found in ([FULL, 1000], [NORMAL, 0])
    return bool(found[0] == FULL)


def test_after_a_note_a_write_waits_for_the_disk_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Store(str(tmp_path / "state.db"))
        await store.open()
        for name in "ab":
            await store.note(put(name))
            assert not waits(store)
            await store.write(put(f"{name} waits"))
            assert waits(store)
        await store.close()

    run(scenario())


def test_a_note_after_a_note_and_a_write_after_a_write_change_nothing_about_the_disk(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Store(str(tmp_path / "state.db"))
        await store.open()
        assert store._writer is not None
        said: list[str] = []
        store._writer.set_trace_callback(said.append)
        for name in "abc":
            await store.note(put(name))
        for name in "def":
            await store.write(put(name))
        store._writer.set_trace_callback(None)
        assert sum(statement.startswith("PRAGMA") for statement in said) == 4
        await store.close()

    run(scenario())


@pytest.mark.parametrize("kind", ["slow", "bad"])
def test_what_the_thread_runs_waits_for_the_disk_and_a_note_after_it_does_not(
    tmp_path: Path, kind: str
) -> None:
    async def scenario() -> None:
        store = Store(str(tmp_path / "state.db"))
        await store.open()
        await store.note(put("a"))
        said: list[str] = []
        assert store._writer is not None
        store._writer.set_trace_callback(said.append)
        begun = [store.begin(replace(put("b"), slow=kind == "slow"))]
        begun += [store.begin(put("a"))] if kind == "bad" else []
        await asyncio.gather(*begun, return_exceptions=True)
        full, commit = said.index("PRAGMA synchronous = FULL"), said.index("COMMIT")
        assert full < commit
        await store.note(put("c"))
        assert not waits(store)
        store._writer.set_trace_callback(None)
        await store.close()
        assert names(tmp_path / "state.db") == ["a", "b", "c"]

    run(scenario())


def test_a_note_is_safe_with_the_next_write_that_adds_something_or_when_it_is_hardened(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        store = Store(str(tmp_path / "state.db"))
        await store.open()
        first = await store.note(put("a"))
        assert store.safe < first
        await store.write(
            Statement("UPDATE agents SET paused = 0")
        )  # SQLite need not write anything for that
        assert store.safe < first
        await store.write(replace(put("b"), adds=True))
        assert store.safe >= first
        second = await store.note(put("c"))
        assert store.safe < second
        await store.harden()
        assert store.safe >= second
        beside = store.begin(put("d"))
        assert await store.note(put("e")) <= store.safe  # it waited for the disk
        assert beside.done()
        await store.close()

    run(scenario())
