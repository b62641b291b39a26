"""What a report says of the state directory: its files, and how many rows `state.db` has. No row of it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nova_torch.errors import NovaError

MOST_FILES = 500
LOCK_S = 2.0


def listing(directory: Path) -> list[dict[str, Any]]:
    """Return name, mode, owner, size and age of the files below the state directory; of directories the number.

    Raises OSError when there is none.
    """
    rows: list[dict[str, Any]] = []
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name)[:MOST_FILES]:
        found = entry.stat(follow_symlinks=False)
        row = {
            "name": entry.name,
            "mode": stat.filemode(found.st_mode),
            "uid": found.st_uid,
            "bytes": found.st_size,
            "age_s": round(time.time() - found.st_mtime),
        }
        if entry.is_dir(follow_symlinks=False):
            row["entries"] = len(os.listdir(entry.path))
        rows.append(row)
    return rows


def counts(directory: Path) -> dict[str, Any]:
    """Return the schema of `state.db` and the number of rows of each table. Raises NovaError, sqlite3.Error."""
    file = directory / "state.db"
    if not file.is_file():
        raise NovaError(f"there is no {file}.")
    # Without a -wal nobody has it open; read as it is, nothing is made beside it.
    how = "mode=ro" if file.with_name("state.db-wal").exists() else "mode=ro&immutable=1"
    with contextlib.closing(
        sqlite3.connect(f"file:{quote(str(file))}?{how}", uri=True, timeout=LOCK_S)
    ) as db:
        names = [
            row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        ]
        return {
            "schema": db.execute("PRAGMA user_version").fetchone()[0],
            "sqlite": sqlite3.sqlite_version,
            "page_bytes": db.execute("PRAGMA page_size").fetchone()[0],
            "pages": db.execute("PRAGMA page_count").fetchone()[0],
            "rows": {name: db.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names},  # noqa: S608  # names of its own tables
        }
