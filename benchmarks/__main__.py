"""Run the benchmarks: `python -m benchmarks [NAME...] [--write]`. Prints tables with ratios and targets.

`python -m benchmarks fleet` simulates a fleet, is none of them and has its own options.
"""

from __future__ import annotations

import argparse
import sys
import time
from importlib import import_module
from pathlib import Path

from benchmarks import fleet
from benchmarks.figures import Report, as_markdown, as_text
from benchmarks.fleet_paper import kept_apart
from benchmarks.machine import describe, load

NAMES = (
    "delivery",
    "scripts",
    "claude",
    "processes",
    "idle",
    "states",
    "ready",
    "control",
    "registry",
    "message",
    "tasks",
)
DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"


def main() -> int:
    """Run what is named, or everything; return 0, or with --strict 1 when a target was missed."""
    if sys.argv[1:2] == ["fleet"]:  # it takes minutes, and options of its own
        return fleet.main(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all without one")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md (needs all of them)")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a target was missed")
    options = parser.parse_args()
    names = tuple(options.names) or NAMES
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are: {', '.join(NAMES)}")
    if options.write and set(names) != set(NAMES):
        parser.error("--write needs a run of all benchmarks")
    print("\n".join(describe()), flush=True)
    reports: list[Report] = []
    for name in names:
        before = load()
        found: list[Report] = import_module(f"benchmarks.{name}").run()
        for report in found:
            report.notes.append(f"Load of the machine (1, 5, 15 minutes) before: {before}, after: {load()}.")
            print(f"\n{as_text(report)}", flush=True)
        reports += found
    missed = [row for report in reports for row in report.rows if row.met is False]
    judged = sum(row.met is not None for report in reports for row in report.rows)
    print(f"\n{judged - len(missed)} of {judged} targets met", flush=True)
    for row in missed:
        print(f"missed: {row.what}: {', '.join(value for value in row.values if value)} ({row.target})")
    if options.write:
        DOCUMENT.parent.mkdir(exist_ok=True)
        _, of_the_fleet = kept_apart(DOCUMENT.read_text(encoding="utf-8"))
        DOCUMENT.write_text(f"{document(reports)}\n{of_the_fleet}".rstrip() + "\n", encoding="utf-8")
        print(f"wrote {DOCUMENT.relative_to(DOCUMENT.parents[1])}")
    return 1 if missed and options.strict else 0


def document(reports: list[Report]) -> str:
    """Return docs/benchmarks.md."""
    day = time.strftime("%Y-%m-%d", time.gmtime())
    head = [
        "# Benchmarks",
        "",
        f"Written by `python -m benchmarks --write` on {day}, in one run. The machine:",
        "",
        *(f"- {line}" for line in describe()),
        "",
        "What a figure covers is said under its table; ratios are against what the same run measured.",
        "On your own machine: `make bench`; an hour of traffic: `make soak` ([soak.md](soak.md));",
        "10,000 messages while daemons, broker and tmux clients are killed: `make kills`;",
        "real agents, talked to and killed, each claim held against what the models saw: `make mixed`;",
        "a fleet of 300 nodes: `python -m benchmarks fleet`.",
    ]
    return "\n".join(head) + "\n\n" + "\n\n".join(as_markdown(report) for report in reports) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
