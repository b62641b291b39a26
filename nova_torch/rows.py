"""Keep the row of an agent as msgpack: what a node told is opened when asked for, what goes out is packed once."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from types import NoneType
from typing import TYPE_CHECKING, Any, Self

SOUGHT = frozenset({"role", "skills", "node", "state", "queued"})
"""What agents are looked for by."""
_KINDS = {
    "agent_id": str, "role": str, "skills": list, "node": str, "driver": str, "pane": str, "session": str,
    "window": str, "state": str, "state_since_ms": int, "queued": int, "last_seen_ms": int, "current_task": str,
    "state_source": str, "detail": str, "attention": str, "performance": dict,
}  # fmt: skip
_NAMES, _VALUES = tuple(_KINDS), tuple(_KINDS.values())
_MAYBE = (float, NoneType)
_FIGURES = (
    "messages", "acknowledged", "submitted", "failed", "success_rate", "tasks_completed", "tasks_failed",
    "avg_completion_time", "ack_median_s",
)  # fmt: skip
_FIGURE_KINDS = frozenset(product(*[[int]] * 4, _MAYBE, [int], [int], _MAYBE, _MAYBE))


class Row:
    """What a record is that has a row."""

    __slots__ = ("_packed", "_told")
    _packed: bytes
    _told: bytes
    """The row as it came."""

    @classmethod
    def of_row(cls, row: bytes) -> Self:
        """Return the record of a row, msgpack of a map that `read` takes.

        Of it only the name is kept, and whether it may go out as it came: of the thousands of a fleet most are only
        listed, or looked through for what some are looked for by. Raises what msgpack raises, and KeyError or
        TypeError for what is no agent.
        """
        import msgpack  # what only names a state does without

        told = msgpack.unpackb(row)
        record = cls.__new__(cls)
        object.__setattr__(record, "agent_id", str(told["agent_id"]))
        object.__setattr__(record, "_told", row)
        _ = told["state"]  # without it there is none
        if _ours(told):
            object.__setattr__(record, "_packed", row)
        return record

    @property
    def packed(self) -> bytes:
        """The object of `agents --json` as msgpack, made once: most rows go out again and again as they are."""
        try:
            return self._packed
        except AttributeError:
            import msgpack

            row: bytes = msgpack.packb(self.to_json())
            object.__setattr__(self, "_packed", row)
            return row

    @staticmethod
    def sought(data: Mapping[str, object]) -> dict[str, Any]:
        """Return the fields SOUGHT of the object of `agents --json`, and its `agent_id`."""
        raise NotImplementedError

    @classmethod
    def read(cls, data: Mapping[str, object]) -> dict[str, Any]:
        """Return all of its fields."""
        raise NotImplementedError

    def to_json(self) -> dict[str, object]:
        """Return the object of `agents --json`."""
        raise NotImplementedError

    if not TYPE_CHECKING:  # or every mistyped name would pass for a field

        def __getattr__(self, name: str) -> object:
            """Open the row: a field is asked for that is not there yet."""
            if name not in self.__dataclass_fields__:
                raise AttributeError(f"a record has no {name!r}", name=name, obj=self)
            import msgpack

            data = msgpack.unpackb(self._told)
            fields = self.sought(data) if name in SOUGHT else self.read(data)
            for each, value in fields.items():
                object.__setattr__(self, each, value)
            return fields[name]


def _ours(row: Mapping[str, Any]) -> bool:
    """Tell whether a row is as this version would write it: then it goes out as it came."""
    if tuple(row) != _NAMES or tuple(map(type, row.values())) != _VALUES:
        return False
    figures = row["performance"]
    return (
        {*map(type, row["skills"])} <= {str}
        and tuple(figures) == _FIGURES
        and tuple(map(type, figures.values())) in _FIGURE_KINDS
    )
