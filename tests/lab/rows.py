"""Read what the lab's programs log, while they write: a row a line, JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def rows_of(log: Path) -> list[dict[str, Any]]:
    """Return the rows that are there whole: one with a megabyte of text is not written at once."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].split("\n")[:-1]]
