"""What a trial checks, and what it makes of what was seen. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Check(StrEnum):
    """What is checked, in this order."""

    READY = "ready"
    """It is started, and its empty input box is seen."""
    PROOF = "proof"
    """A message into the idle agent: what is claimed is what its model got."""
    BUSY = "busy"
    """That it works is seen."""
    QUEUE = "queue"
    """A message while it works waits or is queued, as the driver says, and its model gets it once."""
    DIALOG = "dialog"
    """The dialog that asks for a permission is seen."""
    HELD = "held"
    """A message while it asks is held, nothing is approved, and its model gets it once afterwards."""


class Outcome(StrEnum):
    """How a check ended."""

    OK = "ok"
    DRIFT = "drift"
    NOT_RUN = "not_run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """A pane as its driver sees it: a recorded `.screen`, which `novactl driver test` takes."""

    text: str

    @property
    def seen(self) -> Mapping[str, Any]:
        """What the driver sees there: `composer`, `dialog`, `busy` and what else is true."""
        expect: Mapping[str, Any] = json.loads(self.text.partition("\n")[0])["expect"]
        return expect

    @property
    def empty(self) -> bool:
        """Whether an empty input box is seen, and nothing that keeps a message back."""
        seen = self.seen
        return seen.get("composer") == "" and not (
            seen.get("dialog") or seen.get("busy") or seen.get("reason")
        )

    def __str__(self) -> str:
        """What is seen, as a person reads it."""
        seen = self.seen
        box = seen.get("composer")
        said = [
            "no input box" if box is None else f"the input box {box[:60]!r}" if box else "an empty input box"
        ]
        said += [f"the dialog {seen['dialog'][:60]!r}" if seen.get("dialog") else "no dialog"]
        said += ["that it works" if seen.get("busy") else "no sign of work"]
        return ", ".join(said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How one check of one agent ended; what was expected and seen is said of a drift."""

    check: Check
    outcome: Outcome
    expected: str = ""
    seen: str = ""
    why: str = ""
    """Why it was not run."""
    screen: Screen | None = None


def ok(check: Check) -> Result:
    """Return that all was as the driver says."""
    return Result(check=check, outcome=Outcome.OK)


def drift(check: Check, expected: str, seen: str, screen: Screen | None) -> Result:
    """Return that it was not."""
    return Result(check=check, outcome=Outcome.DRIFT, expected=expected, seen=seen, screen=screen)


def not_run(check: Check, why: str, screen: Screen | None = None) -> Result:
    """Return that nothing can be said."""
    return Result(check=check, outcome=Outcome.NOT_RUN, why=why, screen=screen)


def claimed(
    check: Check, wanted: Sequence[str], receipt: Mapping[str, Any], received: int, screen: Screen | None
) -> Result:
    """Compare a message's receipt with what the model got: it must be proven, and there once."""
    if receipt["state"] in wanted and received == 1:
        return ok(check)
    seen = f"{spoken(receipt)}, and {received} times at the model"
    return drift(check, f"{' or '.join(wanted)}, and once at the model", seen, screen)


def spoken(receipt: Mapping[str, Any]) -> str:
    """Return a message's state with its reason."""
    return f"{receipt['state']}: {receipt['reason']}" if receipt["reason"] else str(receipt["state"])
