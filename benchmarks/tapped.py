"""Run the daemon with taps: `python -m benchmarks.tapped` is `python -m noval_d` that writes down when what ran.

$NOVA_TAP names the file: one line a moment, `NAME MONOTONIC_NS`. The taps read a clock and append to a list.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from noval_d.__main__ import main
from noval_d.delivery import steps
from noval_d.delivery.injector import ENTERED, Injector
from noval_d.delivery.item import Item
from noval_d.delivery.worker import Worker
from noval_d.mailroom.desk import Desk

MOMENTS: list[tuple[str, int]] = []


def note(name: str) -> None:
    MOMENTS.append((name, time.monotonic_ns()))


def tap() -> None:
    """Wrap the daemon's own steps."""
    run, next_step, heard, settle = Injector._run, steps.next_step, Worker.heard, Desk.settle  # noqa: SLF001

    async def tapped_run(self: Injector, line: str) -> Any:
        name = "paste" if line.startswith("load-buffer") else "enter" if ENTERED in line else ""
        if name:
            note(name)
        answer = await run(self, line)
        if name:
            note(f"{name}-ran")
        return answer

    def tapped_step(
        rules: steps.Rules, progress: steps.Progress, look: steps.Look, now: float
    ) -> tuple[steps.Progress, steps.Step]:
        result = next_step(rules, progress, look, now)
        if progress.landed_at is None and result[0].landed_at is not None:
            note("landed")
        return result

    async def tapped_heard(self: Worker, report: Any, *, late: bool = False) -> None:
        note(f"hook-{report.meaning.name.lower()}")
        await heard(self, report, late=late)

    async def tapped_settle(self: Desk, item: Item, state: Any, reason: str = "") -> None:
        await settle(self, item, state, reason)
        note(str(state))

    Injector._run = tapped_run  # type: ignore[method-assign]  # noqa: SLF001
    steps.next_step = tapped_step
    Worker.heard = tapped_heard  # type: ignore[method-assign]
    Desk.settle = tapped_settle  # type: ignore[method-assign]


def write(path: str, moments: Sequence[tuple[str, int]]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"{name} {at}\n" for name, at in moments)


if __name__ == "__main__":
    tap()
    try:
        code = main()
    finally:
        write(os.environ["NOVA_TAP"], MOMENTS)
    raise SystemExit(code)
