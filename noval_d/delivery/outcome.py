"""What came of the attempt to deliver one message. Values only."""

from __future__ import annotations

from dataclasses import dataclass

from nova_torch.values import State


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a message, on proof."""

    state: State
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Postponed:
    """Nothing is known for sure yet: ask again after `seconds`."""

    seconds: float


Outcome = Verdict | Postponed
