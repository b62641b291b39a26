"""The log of the state file has its length from the start, and what lengthens it harms nothing."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from noval_d.mailroom import log_room
from noval_d.mailroom.log_room import LOG_BYTES
from noval_d.mailroom.store import Statement, Store
from tests.support.aio import run

PUT = "INSERT INTO agents (agent, spec) VALUES (?, x'')"
WRITTEN_AND_GONE = """
import os, sys
import asyncio
from noval_d.mailroom.store import Store, Statement

async def main():
    store = Store(sys.argv[1])
    await store.open()
    for name in sys.argv[2:]:
        await store.write(Statement("INSERT INTO agents (agent, spec) VALUES (?, x'')", (name,)))
    os._exit(0)

asyncio.run(main())
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def log_bytes(file: Path) -> int:
    return file.with_name(f"{file.name}-wal").stat().st_size


def names(file: Path) -> list[str]:
    connection = sqlite3.connect(file)
    try:
        return [row[0] for row in connection.execute("SELECT agent FROM agents ORDER BY rowid")]
    finally:
        connection.close()


def written(file: Path, count: int) -> None:
    """Open the file, write so often, and close it."""

    async def scenario() -> None:
        store = Store(str(file))
        await store.open()
        lengths = {log_bytes(file)}
        for n in range(count):
            await store.write(Statement(PUT, (f"a{n}",)))
            lengths.add(log_bytes(file))
        assert lengths == {LOG_BYTES}
        assert names(file) == [f"a{n}" for n in range(count)]
        await store.close()

    run(scenario())


def test_the_log_does_not_grow_while_it_is_written_over_and_over(file: Path) -> None:
    written(file, 1500)  # more pages than a checkpoint waits for
    assert len(names(file)) == 1500


@pytest.mark.parametrize("ends", [(), ("a", "b")], ids=["nothing written", "something written"])
def test_a_killed_daemon_s_log_is_gone_on_with(file: Path, ends: tuple[str, ...]) -> None:
    done: list[str] = []
    for _ in range(3):
        mine = [f"{name}{len(done)}" for name in ends]
        subprocess.run([sys.executable, "-c", WRITTEN_AND_GONE, str(file), *mine], check=True, timeout=60)
        assert log_bytes(file) == LOG_BYTES
        done += mine
        if ends:
            assert names(file) == done
    check = sqlite3.connect(file)
    assert check.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    check.close()


@pytest.mark.parametrize("left", [5000, LOG_BYTES // 2, LOG_BYTES])
def test_zeros_of_which_only_a_part_was_written_are_no_harm(file: Path, left: int) -> None:
    """As after a kill in the middle: behind the log's pages, and in place of its header."""
    subprocess.run([sys.executable, "-c", WRITTEN_AND_GONE, str(file), "a"], check=True, timeout=60)
    log = file.with_name(f"{file.name}-wal")
    if left > 5000:
        os.truncate(log, left)
        assert names(file) == ["a"]  # which puts it into the file itself
    else:
        assert names(file) == ["a"]
        log.write_bytes(bytes(left))
    subprocess.run([sys.executable, "-c", WRITTEN_AND_GONE, str(file), "b"], check=True, timeout=60)
    assert names(file) == ["a", "b"]


@pytest.mark.parametrize("room", [0, 5000], ids=["none", "some"])
def test_a_full_disk_fails_no_start_and_keeps_the_room_that_it_has(
    file: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    write, left = os.pwrite, room

    def full(log: int, data: bytes, at: int) -> int:
        nonlocal left
        if not left:
            raise OSError(28, os.strerror(28))
        written = write(log, data[:left], at)
        left -= written
        return written

    monkeypatch.setattr(os, "pwrite", full)

    async def scenario() -> None:
        store = Store(str(file))
        await store.open()
        assert log_bytes(file) < LOG_BYTES // 2
        await store.write(Statement(PUT, ("a",)))
        await store.close()

    run(scenario())
    assert names(file) == ["a"]


def test_a_disk_with_little_room_keeps_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_room, "FREE_BYTES", 1 << 60)

    async def scenario() -> None:
        store = Store(str(file))
        await store.open()
        assert log_bytes(file) < LOG_BYTES // 2
        await store.close()

    run(scenario())


def test_who_reads_the_file_meanwhile_sees_what_he_saw_and_then_what_is_new(file: Path) -> None:
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("CREATE TABLE mine (n)")
    other.execute("INSERT INTO mine VALUES (1)")
    other.execute("BEGIN")
    assert other.execute("SELECT n FROM mine").fetchall() == [(1,)]

    async def scenario() -> None:
        store = Store(str(file))
        await store.open()
        assert log_bytes(file) == LOG_BYTES
        await store.write(Statement("INSERT INTO mine VALUES (2)"))
        assert other.execute("SELECT n FROM mine").fetchall() == [(1,)]
        other.execute("COMMIT")
        assert other.execute("SELECT n FROM mine").fetchall() == [(1,), (2,)]
        await store.close()

    run(scenario())
    other.close()


def test_a_file_that_another_process_is_writing_to_is_left_as_it_is(file: Path) -> None:
    other = sqlite3.connect(file, isolation_level=None, timeout=0)
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("CREATE TABLE mine (n)")
    other.execute("BEGIN IMMEDIATE")
    mine = sqlite3.connect(file, isolation_level=None, timeout=0)
    before = log_bytes(file)
    log_room.lengthen(mine, str(file))
    assert log_bytes(file) == before
    mine.close()
    other.execute("ROLLBACK")
    other.close()
