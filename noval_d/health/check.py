"""What a look at a node finds. A value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; severity is ok, warning or error."""

    code: str
    severity: str
    message: str
    hint: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the object that `status` and `doctor` show."""
        return {"code": self.code, "severity": self.severity, "message": self.message, "hint": self.hint}
