"""The node's state file: one SQLite database, group commit by a thread, everything else on the loop.

Whatever waits while a commit runs is committed together by the next one, so a burst costs few fsyncs. WAL with
synchronous=FULL: what `write` has returned for survives a crash of the machine.

Before each commit it is looked whether the file is still where it was opened: SQLite writes into a file that was
removed as well as into any other, and what it calls durable is gone with the process.

Statements run on the loop (microseconds each), only COMMIT, which waits for the disk, runs in the thread: with
both in the thread, each statement handed the interpreter over twice, and fifty busy panes got 600 messages a
second instead of 750.

What may be lost with the machine (`note`) is written without waiting for the disk, and so without the thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nova_torch.errors import StateNewer, StoreFailed
from noval_d.mailroom.log_room import CHECKPOINT_PAGES, lengthen
from noval_d.mailroom.schema import SCHEMA, SCHEMA_VERSION

log = logging.getLogger("nova.store")

FULL = "PRAGMA synchronous = FULL"
LOCK_MS = 5000  # how long a writer waits for another process that has the file locked
MOVED = "it was removed, moved or replaced while it was in use"

Values = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement and its values.

    A `slow` one (it walks through a table) runs in the thread. One that `adds` a row changes the file in any case:
    for a change that changes nothing SQLite writes nothing, and does not wait for the disk.
    """

    sql: str
    values: Values = ()
    slow: bool = False
    adds: bool = False


HARDEN = Statement(
    "INSERT INTO node (name, value) VALUES ('hardened', randomblob(16))"
    " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    adds=True,
)
"""What changes the file and means nothing."""


@dataclass(slots=True)
class _Unit:
    statements: tuple[Statement, ...]
    done: asyncio.Future[None]


@dataclass(slots=True)
class _Work:
    """What the thread gets: units whose statements have run, or (not `ran`) that it runs itself, each alone."""

    units: list[_Unit]
    ran: bool


class Store:
    """The state file of a node. `write` is durable when it returns; `read` sees every finished write."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._waiting: list[_Unit] = []
        self._idle = asyncio.Event()
        self._idle.set()
        """Set when no transaction is open or about to be: while it is clear, the thread may have the writer."""
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._place: tuple[object, ...] = ()
        """Which files were opened."""
        self._noted = self.safe = 0
        """How many notes were written without waiting for the disk, and how many of them are durable."""
        self._waits: bool | None = None  # whether a commit waits for the disk now; None: who knows
        self._adds = False  # what is being committed changes the file, and so makes all notes durable
        self.failing = ""
        """What the last write failed with; empty when it went well."""

    def __repr__(self) -> str:
        return f"<Store {self.path}{' failing' if self.failing else ''}>"

    async def open(self) -> None:
        """Open or make the file (0600). Raises StoreFailed with the cure."""
        try:
            descriptor = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            os.close(descriptor)
            found = self._version()
            if found > SCHEMA_VERSION:
                raise StateNewer(
                    f"{self.path} was written by a newer version of Nova-Torch (schema {found}; this one knows"
                    f" {SCHEMA_VERSION}).",
                    "Start that version again, or give this one a state directory of its own: NOVA_STATE_DIR",
                )
            writer = self._connect()
            writer.executescript(SCHEMA)
            writer.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            lengthen(writer, self.path)
            _wait_for_lock(writer, 0)
            self._writer, self._reader = writer, self._connect()
            self._place = self._found()
        except (OSError, sqlite3.Error) as error:
            raise StoreFailed(
                f"the state file {self.path} cannot be opened: {error}.",
                "Check that its directory exists, is yours and is on a disk with room.",
            ) from None
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Finish every write that was asked for, then close."""
        if self._thread is not None:
            await self._idle.wait()
            self._queue.put(None)
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
            self._thread = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def begin(self, *statements: Statement) -> asyncio.Future[None]:
        """Queue `statements` as one transaction, in the order of the calls; the future is done when durable.

        The future fails with StoreFailed when the file cannot be written; none of its statements took effect.
        """
        if self._loop is None or self._thread is None:
            raise StoreFailed(f"the state file {self.path} is not open.")
        unit = _Unit(statements, self._loop.create_future())
        self._waiting.append(unit)
        if self._idle.is_set():
            self._idle.clear()
            self._loop.call_soon(self._work)  # what else this turn of the loop writes comes along
        return unit.done

    async def write(self, *statements: Statement) -> None:
        """Write `statements` as one transaction and wait until they are durable."""
        await self.begin(*statements)  # who is cancelled here gives up waiting, and nothing else

    async def note(self, *statements: Statement) -> int:
        """Write what does no harm when a crash of this machine takes it back, or what is kept elsewhere meanwhile.

        It is there for every reader when this returns, and for the next start when the process is killed. It is
        durable as soon as `safe` is not below what this returns: with the next write that adds something, or after
        `harden`.
        """
        if not self._idle.is_set() or self._writer is None or not self._noted_at_once(statements):
            await self.begin(*statements)
            return 0
        self._noted += 1
        return self._noted

    async def harden(self) -> None:
        """Make durable what was noted."""
        if self.safe < self._noted:
            await self.write(HARDEN)

    def _noted_at_once(self, statements: tuple[Statement, ...]) -> bool:
        """Commit without fsync, and without the checkpoint that would need one; False when that cannot be."""
        assert self._writer is not None
        done = False
        try:
            self._wait_for_disk(wait=False)
            _execute(self._writer, [statements])
            if self._found() == self._place:
                self._writer.execute("COMMIT")
                done = True
        except Exception:  # noqa: BLE001, S110 - locked, full, or a bad value: `begin` says what it is
            pass
        finally:
            _roll_back(self._writer)
        return done

    def _wait_for_disk(self, *, wait: bool) -> None:
        """Let commits wait for the disk, and checkpoint, or do neither; it stays so for the next one."""
        assert self._writer is not None
        if self._waits is not wait:
            self._waits = None
            self._writer.execute(FULL if wait else "PRAGMA synchronous = NORMAL")
            self._writer.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES if wait else 0}")
            self._waits = wait

    def read(self, sql: str, values: Values = ()) -> list[sqlite3.Row]:
        """Return the rows of a query by index (microseconds). Raises StoreFailed."""
        if self._reader is None or self._writer is None:
            raise StoreFailed(f"the state file {self.path} is not open.")
        try:
            if self._idle.is_set():  # it has what it wrote at hand; the other one reads that from the file
                with contextlib.suppress(sqlite3.OperationalError):  # the other one waits for a lock
                    return self._writer.execute(sql, values).fetchall()
            return self._reader.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise StoreFailed(f"the state file {self.path} cannot be read: {error}.") from None

    def _version(self) -> int:
        """Return the schema of the file as it is, before anything of it is changed."""
        with contextlib.closing(sqlite3.connect(self.path, timeout=LOCK_MS / 1000)) as connection:
            return int(connection.execute("PRAGMA user_version").fetchone()[0])

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=5.0)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(FULL)
        return connection

    @property
    def cure(self) -> str:
        """What helps while it is `failing`."""
        if self.failing == MOVED:
            return "Put it back if it was moved; if it is gone, start the node anew: novactl down, novactl up"
        return (
            "Make room on its disk." if "full" in self.failing else "Make its disk writable, with room on it."
        )

    def _found(self) -> tuple[object, ...]:
        return tuple(_file_at(self.path + suffix) for suffix in ("", "-wal"))

    # -- on the loop --

    def _work(self) -> None:
        """Run what waits in one transaction and have it committed."""
        assert self._writer is not None
        assert self._loop is not None
        units, self._waiting = self._waiting, []
        self._adds = False
        if any(statement.slow for unit in units for statement in unit.statements):
            self._run_in_thread(units)
            return
        try:
            self._wait_for_disk(wait=True)
            _execute(self._writer, [unit.statements for unit in units])
        except Exception:  # noqa: BLE001 - a bad unit, or the file is locked: the thread sorts it out
            self._run_in_thread(units)
            return
        if self._found() != self._place:
            _roll_back(self._writer)
            self._loop.call_soon(self._resolve, [(unit, MOVED) for unit in units])
            return
        self._adds = any(statement.adds for unit in units for statement in unit.statements)
        self._queue.put(_Work(units, ran=True))

    def _run_in_thread(self, units: list[_Unit]) -> None:
        self._waits = None
        self._queue.put(_Work(units, ran=False))

    def _resolve(self, outcome: list[tuple[_Unit, str]]) -> None:
        if self._adds and not any(problem for _, problem in outcome):
            self.safe = self._noted
        for unit, problem in outcome:
            self.failing = problem
            if unit.done.done():
                continue
            if problem:
                unit.done.set_exception(
                    StoreFailed(f"the state file {self.path} cannot be written: {problem}.", self.cure)
                )
            else:
                unit.done.set_result(None)
        if self._waiting:
            self._work()
        else:
            self._idle.set()

    # -- in the thread --

    def _run(self) -> None:
        connection, loop = self._writer, self._loop
        assert connection is not None
        assert loop is not None
        while (work := self._queue.get()) is not None:
            outcome = self._lost(work) or _commit(connection, work)
            try:
                loop.call_soon_threadsafe(self._resolve, outcome)
            except RuntimeError:  # the loop is closed: nobody waits any more
                log.warning("store.late", extra={"units": len(outcome)})

    def _lost(self, work: _Work) -> list[tuple[_Unit, str]]:
        """Refuse what did not run yet when the file is not where it was; return nothing when all is well."""
        if work.ran or self._found() == self._place:
            return []
        return [(unit, MOVED) for unit in work.units]


def _commit(connection: sqlite3.Connection, work: _Work) -> list[tuple[_Unit, str]]:
    """Commit what ran; return each unit with what went wrong.

    Units that went wrong together are done again, each alone, so that one bad unit hurts no other. Slow ones
    are done here in the first place.
    """
    if work.ran and connection.in_transaction:
        try:
            connection.commit()  # gives the interpreter away once; as a statement, for each of its steps
        except sqlite3.Error:
            _roll_back(connection)
        else:
            return [(unit, "") for unit in work.units]
    outcome: list[tuple[_Unit, str]] = []
    _wait_for_lock(connection, LOCK_MS)
    for unit in work.units:
        problem = ""
        try:
            connection.execute(FULL)  # perhaps the last thing written was a note
            _execute(connection, [unit.statements])
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - a value that SQLite cannot take is no sqlite3.Error
            _roll_back(connection)
            problem = f"{error}"
        outcome.append((unit, problem))
    _wait_for_lock(connection, 0)
    return outcome


def _execute(connection: sqlite3.Connection, units: Sequence[tuple[Statement, ...]]) -> None:
    """Run these statements in a transaction that stays open; when one fails, nothing took effect."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statements in units:
            for statement in statements:
                connection.execute(statement.sql, statement.values)
    except BaseException:
        _roll_back(connection)
        raise


def _file_at(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _wait_for_lock(connection: sqlite3.Connection, milliseconds: int) -> None:
    """Set how long the connection waits while another process has the file locked; on the loop: not at all."""
    connection.execute(f"PRAGMA busy_timeout = {milliseconds}")
