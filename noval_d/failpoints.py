"""Named steps of a message's road at which tests kill the daemon, stop it, or make the step fail.

Off unless NOVA_FAILPOINTS names some when the daemon starts; then `status` and the log say so. Off, `failpoint`
is a function that does nothing, bound when this module is imported.
"""

from __future__ import annotations

import logging
import os
import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nova_torch.errors import BrokerUnavailable, ConfigInvalid, NovaError, StoreFailed, TmuxNotAnswering
from nova_torch.nearest import suggestion

log = logging.getLogger("nova.failpoints")

VARIABLE = "NOVA_FAILPOINTS"
ACTIONS = ("kill", "pause", "error")
STEPS: Mapping[str, type[NovaError]] = {
    "accept.before": StoreFailed,
    "accept.after": StoreFailed,
    "enqueue.before": BrokerUnavailable,
    "enqueue.after": BrokerUnavailable,
    "queued.after": StoreFailed,
    "claim.before": BrokerUnavailable,
    "claim.after": BrokerUnavailable,
    "read.before": BrokerUnavailable,
    "read.after": BrokerUnavailable,
    "begin.before": StoreFailed,
    "begin.after": StoreFailed,
    "paste.before": TmuxNotAnswering,
    "paste.after": TmuxNotAnswering,
    "hop.before": StoreFailed,
    "hop.after": StoreFailed,
    "back.before": TmuxNotAnswering,
    "back.after": TmuxNotAnswering,
    "back.written": StoreFailed,
    "lost.before": TmuxNotAnswering,
    "lost.after": StoreFailed,
    "enter.before": TmuxNotAnswering,
    "enter.after": TmuxNotAnswering,
    "proof.before": TmuxNotAnswering,
    "proof.after": StoreFailed,
    "entered.before": StoreFailed,
    "entered.after": StoreFailed,
    "settle.before": StoreFailed,
    "settle.after": StoreFailed,
    "ack.before": BrokerUnavailable,
    "ack.after": BrokerUnavailable,
    "receipt.before": BrokerUnavailable,
    "receipt.after": BrokerUnavailable,
    "outbox.before": StoreFailed,
    "outbox.after": StoreFailed,
    "mail.after": BrokerUnavailable,
    "schedule.before": StoreFailed,
    "schedule.after": StoreFailed,
    "schedule.told": BrokerUnavailable,
    "task.before": BrokerUnavailable,
    "task.after": BrokerUnavailable,
    "spawn.before": StoreFailed,
    "spawn.after": StoreFailed,
    "scale.decided": BrokerUnavailable,
}
"""Every step, in the order of the road, with what it fails with."""

_POINT = re.compile(r"(?P<step>[a-z.]+)=(?P<action>[a-z]+)(?:@(?P<count>[1-9]\d{0,5}))?")


@dataclass(slots=True)
class Point:
    """What happens at a step, and at which time that it is passed (1: the first)."""

    step: str
    action: str
    count: int = 1
    passed: int = 0

    def __str__(self) -> str:
        return f"{self.step}={self.action}@{self.count}"


def read(text: str) -> dict[str, Point]:
    """Return the points of `STEP=ACTION[@N],…`. Raises ConfigInvalid with the nearest step."""
    points: dict[str, Point] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = _POINT.fullmatch(part)
        if found is None or found["action"] not in ACTIONS:
            raise ConfigInvalid(
                f"{VARIABLE}: {part!r} is no failpoint.",
                f"Write STEP=ACTION or STEP=ACTION@3, an action of {', '.join(ACTIONS)}, or unset it.",
            )
        if found["step"] not in STEPS:
            cure = suggestion(found["step"], STEPS, otherwise="noval_d/failpoints.py has the list.")
            raise ConfigInvalid(f"{VARIABLE}: there is no step {found['step']!r}.", cure)
        points[found["step"]] = Point(found["step"], found["action"], int(found["count"] or 1))
    return points


def off(_step: str) -> None:
    """Do nothing."""


def armed(points: Mapping[str, Point]) -> Callable[[str], None]:
    """Return what does at each step what `points` say. Raises the step's error at a point of `error`."""

    def reached(step: str) -> None:
        assert step in STEPS, step
        point = points.get(step)
        if point is None:
            return
        point.passed += 1
        if point.passed != point.count:
            return
        os.write(2, f"failpoint {point}\n".encode())
        if point.action == "error":
            raise STEPS[step](f"failpoint {point}.", f"Unset {VARIABLE}.")
        os.kill(os.getpid(), signal.SIGKILL if point.action == "kill" else signal.SIGSTOP)

    return reached


def check() -> None:
    """Say loudly that failpoints are armed. Raises ConfigInvalid when they cannot be understood."""
    read(os.environ.get(VARIABLE, ""))
    if failpoint is not off:
        log.warning("failpoints.armed", extra={"points": ACTIVE, "cure": f"for tests only: unset {VARIABLE}"})


def _bind() -> tuple[str, Callable[[str], None]]:
    try:
        points = read(os.environ.get(VARIABLE, ""))
    except ConfigInvalid:  # `check` tells it
        return "", off
    return ",".join(map(str, points.values())), armed(points) if points else off


ACTIVE, failpoint = _bind()
"""The points that are armed, for people; and what every step calls."""
