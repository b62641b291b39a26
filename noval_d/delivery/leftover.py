"""Decide what to do with a text that was sent and is still in the composer. No I/O, no clock.

Claude Code takes a text that is sent at the very end of a turn and leaves it in its input box as well, or puts it
back a moment later. There it would look like a draft, hold every later message, and be sent again by the next Enter
of a person. A text that is only queued is not touched: a person may have called it back to edit it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from noval_d.agents.sight import is_rest
from noval_d.delivery.view import AgentView

STAYS_S = 0.5  # an agent clears its input box within this after it took the text
RETURNS_S = 10.0  # a taken text comes back within this, or not at all
MAX_KEYS = 32
MAX_TEXTS = 16  # a turn that ends takes several queued texts at once, and any of them may come back
LOOK_S = 0.04
AGAIN_S = 2.0  # between two looks at an empty composer while nothing waits to be typed


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A text that the agent has surely taken; `at` in monotonic seconds is when that was proven."""

    typed: str
    at: float
    keys: int = 0
    """How often the driver's clearing keys were pressed."""


@dataclass(frozen=True, slots=True)
class Forget:
    """It did not come back, or what is there is no longer ours to touch."""


@dataclass(frozen=True, slots=True)
class Keep:
    """It is not there now, or there is something else; it may still come back."""


@dataclass(frozen=True, slots=True)
class Later:
    """Look again after `seconds`; nothing may be typed before."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Clear:
    """Press the driver's clearing keys once."""


def which(taken: Sequence[Left], view: AgentView, now: float) -> tuple[Left, ...]:
    """Return the taken texts that may still come back, the one that stands in the composer (if any) last."""
    live = [left for left in taken if now - left.at < RETURNS_S or left.keys][-MAX_TEXTS:]
    sight = view.sight
    if sight is not None and sight.composer:
        live.sort(key=lambda left: is_rest(view.driver, sight, left.typed, begun=left.keys > 0))
    return tuple(live)


def tidy(left: Left, view: AgentView, now: float) -> Forget | Keep | Later | Clear:
    """Return what to do with a taken text that is, or may come back, in the composer."""
    sight = view.sight
    if view.facts is None or not view.present or sight is None or not view.driver.clear_keys:
        return Forget()
    age_s = now - left.at
    later = Keep() if age_s < RETURNS_S else Forget()
    if not sight.composer:
        return Forget() if left.keys else later
    if not is_rest(view.driver, sight, left.typed, begun=left.keys > 0):
        return Forget() if left.keys else Later(LOOK_S) if age_s < STAYS_S else later
    if age_s < STAYS_S or view.unread_bytes > 0:  # what was pressed has not been read yet
        return Later(LOOK_S)
    return Clear() if left.keys < MAX_KEYS and (left.keys or age_s < RETURNS_S) else Forget()
