"""One line of what a migration says: what it found, and what it did about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A script or a pane. `done` is a word or two for programs, too; `detail` says more to people."""

    kind: str
    name: str
    where: str
    found: str
    done: str
    detail: str = ""
    role: str = ""

    @property
    def short(self) -> bool:
        """Tell whether something that was to be done is not."""
        return self.done in ("failed", "kept")

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return asdict(self)

    def cells(self) -> tuple[str, ...]:
        """Return it as the row of a table."""
        more = f"{self.done}: {self.detail}" if self.detail else self.done
        return self.kind, self.name, self.where, self.found, self.role, more
