"""Hold what was measured and print it: as a table on the terminal, and as Markdown. No measuring."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a table. `met` is None where there is no target."""

    what: str
    values: tuple[str, ...]
    target: str = ""
    met: bool | None = None

    @property
    def verdict(self) -> str:
        return "" if self.met is None else "met" if self.met else "MISSED"


@dataclass(slots=True, kw_only=True)
class Report:
    """What one benchmark found: a table with named columns, and notes that say what exactly was measured."""

    title: str
    columns: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, what: str, *values: str, target: str = "", met: bool | None = None) -> None:
        assert len(values) == len(self.columns), (values, self.columns)
        self.rows.append(Row(what=what, values=values, target=target, met=met))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median(values: Sequence[float]) -> float:
    return percentile(values, 0.5)


def ms(seconds: float) -> str:
    """Return seconds as milliseconds with about three digits."""
    value = seconds * 1e3
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def times(value: float, other: float) -> str:
    """Return how many times `other` fits into `value`."""
    if not other:
        return "–"
    ratio = value / other
    return f"{ratio:.2f}x" if ratio < 10 else f"{ratio:.0f}x"


def as_text(report: Report) -> str:
    lines = [f"== {report.title}"]
    lines += _grid(
        _cells(report), lambda cell, width, first: cell.ljust(width) if first else cell.rjust(width)
    )
    lines += [f"   {note}" for note in report.notes]
    return "\n".join(lines)


def as_markdown(report: Report) -> str:
    header, *rows = _cells(report)
    rule = ["---", *("---:" for _ in header[1:])]
    lines = [f"## {report.title}", "", *("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))]
    if report.notes:
        lines += ["", *(f"- {note}" for note in report.notes)]
    return "\n".join(lines)


def _cells(report: Report) -> list[list[str]]:
    header = ["", *report.columns, "target", ""]
    return [header, *([row.what, *row.values, row.target, row.verdict] for row in report.rows)]


def _grid(cells: list[list[str]], fit: Callable[[str, int, bool], str]) -> list[str]:
    widths = [max(len(row[n]) for row in cells) for n in range(len(cells[0]))]
    return [
        "  ".join(fit(cell, width, n == 0) for n, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in cells
    ]
