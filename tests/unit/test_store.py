"""The state file: durable when `write` returns, one bad unit fails alone, and a full disk passes."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from nova_torch.errors import StoreFailed
from noval_d.mailroom.store import Statement, Store, _commit, _Unit, _Work
from tests.support.aio import run

GOOD = "INSERT INTO agents (agent, spec) VALUES (?, ?)"


def names(store: Store) -> list[str]:
    return [row["agent"] for row in store.read("SELECT agent FROM agents ORDER BY agent")]


def test_what_was_written_is_there_after_opening_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        for name in ("a", "b"):
            store = Store(str(tmp_path / "state.db"))
            await store.open()
            await store.write(Statement(GOOD, (name, b"{}")))
            await store.close()
        store = Store(str(tmp_path / "state.db"))
        await store.open()
        assert names(store) == ["a", "b"]
        await store.close()

    run(scenario())
    assert (tmp_path / "state.db").stat().st_mode & 0o777 == 0o600


def test_one_bad_unit_of_a_group_fails_alone_and_whole(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Store(str(tmp_path / "state.db"))
        await store.open()
        units = [store.begin(Statement(GOOD, (f"a{n}", b"{}"))) for n in range(5)]
        bad = store.begin(Statement(GOOD, ("half", b"{}")), Statement(GOOD, ("a1", b"{}")))
        units += [store.begin(Statement(GOOD, (f"b{n}", b"{}"))) for n in range(5)]
        await asyncio.gather(*units)
        with pytest.raises(StoreFailed, match="cannot be written"):
            await bad
        assert names(store) == [*(f"a{n}" for n in range(5)), *(f"b{n}" for n in range(5))]
        await store.close()

    run(scenario())


def test_what_ran_in_a_transaction_that_is_gone_is_run_again_and_not_taken_for_committed(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        store = Store(str(tmp_path / "state.db"))
        await store.open()
        unit = _Unit((Statement(GOOD, ("a", b"{}")),), asyncio.get_running_loop().create_future())
        assert store._writer is not None
        assert not store._writer.in_transaction
        assert _commit(store._writer, _Work([unit], ran=True)) == [(unit, "")]
        assert names(store) == ["a"]
        await store.close()

    run(scenario())


def test_a_full_disk_is_told_and_passes(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Store(str(tmp_path / "state.db"))
        await store.open()
        pages = store.read("PRAGMA page_count")[0][0]
        await store.write(Statement(f"PRAGMA max_page_count = {pages + 4}"))
        with pytest.raises(StoreFailed, match="full"):
            await store.write(Statement(GOOD, ("large", b"x" * 200_000)))
        assert store.failing
        assert names(store) == []
        await store.write(Statement("PRAGMA max_page_count = 100000"))
        await store.write(Statement(GOOD, ("large", b"x" * 200_000)))
        assert not store.failing
        assert names(store) == ["large"]
        await store.close()

    run(scenario())


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "state.db") as other:
        other.execute("PRAGMA user_version = 99")
    other.close()

    async def scenario() -> None:
        with pytest.raises(StoreFailed, match="newer version"):
            await Store(str(tmp_path / "state.db")).open()

    run(scenario())


def test_a_directory_that_is_missing_is_explained(tmp_path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(StoreFailed, match="cannot be opened"):
            await Store(str(tmp_path / "no" / "state.db")).open()

    run(scenario())
