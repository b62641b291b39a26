"""Decide whether an agent that has ended is started again, and when. No I/O, no clock, no dice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

JITTER = 0.5  # this part of a pause is left to chance: agents that end together do not start together


class Restart(StrEnum):
    """When an agent is started again without an order."""

    ALWAYS = "always"
    ON_FAILURE = "on-failure"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Exit:
    """How a program ended. Both are None when nobody knows, for example because its window was closed."""

    code: int | None = None
    signal: int | None = None

    @property
    def failed(self) -> bool:
        """Whether it ended otherwise than by itself and well."""
        return self.code != 0

    def __str__(self) -> str:
        if self.signal is not None:
            return f"signal {self.signal}"
        return f"exit code {self.code}" if self.code is not None else "its pane is gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How patient the policies are; the section `life` of the configuration."""

    tries: int
    window_s: float
    first_s: float
    most_s: float


@dataclass(frozen=True, slots=True)
class Again:
    """Start it again after so long."""

    after_s: float


@dataclass(frozen=True, slots=True)
class Rest:
    """Leave it as it is: its policy does not want it back."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Leave it as it is: it was started again too often."""

    why: str


def after_exit(
    restart: Restart, ended: Exit, tries_ms: Sequence[int], now_ms: int, chance: float, limits: Limits
) -> Again | Rest | GiveUp:
    """Return what to do now that the program ended.

    `tries_ms` is when it was started again before, `chance` is from 0 to 1.
    """
    if restart is Restart.NEVER or (restart is Restart.ON_FAILURE and not ended.failed):
        return Rest()
    tries = len(recent(tries_ms, now_ms, limits))
    if tries >= limits.tries:
        return GiveUp(f"it ended {tries + 1} times within {limits.window_s:g} s, the last time with {ended}")
    pause_s = min(limits.first_s * 2 ** min(tries, 32), limits.most_s)
    return Again(pause_s * (1 - JITTER * chance))


def recent(tries_ms: Sequence[int], now_ms: int, limits: Limits) -> tuple[int, ...]:
    """Return those of the tries that count: a clock that was set back makes none of them count for longer."""
    return tuple(at_ms for at_ms in tries_ms if 0 <= now_ms - at_ms < limits.window_s * 1000)
