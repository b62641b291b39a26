"""Decide what to do with a text that was sent and is still in the composer. No I/O, no clock.

Claude Code takes a text that is sent at the very end of a turn and leaves it in its input box as well. There it
would look like a draft, hold every later message, and be sent again by the next Enter of a person.
"""

from __future__ import annotations

from dataclasses import dataclass

from noval_d.agents.sight import is_rest
from noval_d.delivery.view import AgentView

STAYS_S = 0.5  # an agent clears its input box within this after it took the text
MAX_KEYS = 32
LOOK_S = 0.04


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A text that was proven to be sent and seen in the composer after that; `at` in monotonic seconds."""

    typed: str
    at: float
    keys: int = 0
    """How often the driver's clearing key was pressed."""


@dataclass(frozen=True, slots=True)
class Forget:
    """It is gone, or no longer ours to touch."""


@dataclass(frozen=True, slots=True)
class Later:
    """Look again after `seconds`; nothing may be typed before."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Clear:
    """Press the driver's clearing key once."""


def tidy(left: Left, view: AgentView, now: float) -> Forget | Later | Clear:
    """Return what to do with the rest of a sent text."""
    sight = view.sight
    if view.facts is None or not view.present or sight is None or not sight.composer:
        return Forget()
    if now - left.at < STAYS_S:
        return Later(LOOK_S)
    ours = is_rest(sight, left.typed) and view.driver.clear_key and left.keys < MAX_KEYS
    return Clear() if ours else Forget()
