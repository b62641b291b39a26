"""Read the table of dialects that comes with the package."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """Names of fields; see dialects.toml."""

    name: str
    id: tuple[str, ...]
    sender: tuple[str, ...]
    target: tuple[str, ...]
    type: tuple[str, ...]
    body: tuple[str, ...]
    more: tuple[str, ...] = ()
    correlation: tuple[str, ...]
    priority: tuple[str, ...]
    out: Mapping[str, str]
    types: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What holds in every dialect: types that want no answer or are one, tasks, words for priorities."""

    tells: frozenset[str]
    answers: frozenset[str]
    tasks: frozenset[str]
    priorities: Mapping[str, str]


@cache
def dialects() -> Mapping[str, Dialect]:
    """Return every dialect by its name."""
    return {name: _dialect(name, table) for name, table in _table().items() if name != "common"}


@cache
def common() -> Common:
    """Return what holds in every dialect."""
    table = _table()["common"]
    return Common(
        tells=frozenset(table["tells"]),
        answers=frozenset(table["answers"]),
        tasks=frozenset(table["tasks"]),
        priorities=table["priorities"],
    )


def _dialect(name: str, table: Mapping[str, Any]) -> Dialect:
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
    return Dialect(name=name, **values)


@cache
def _table() -> dict[str, dict[str, Any]]:
    return tomllib.loads(files(__package__).joinpath("dialects.toml").read_text(encoding="utf-8"))
