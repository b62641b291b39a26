"""Decide when a pane is looked at although nobody asks. No I/O, no clock.

A look costs about a millisecond, so it is taken when there may be something to see: tmux told that the window drew
something, a hook told of a change, or a state ends by time alone. Everything else waits for a slow round.
"""

from __future__ import annotations

from dataclasses import dataclass

ROUND_S = 60.0  # each pane once in this time, whatever was told; spread by `jitter`
BUSY_S = 5.0  # an agent whose title says that it works draws all the time: the title tells when it ends
UNSETTLED_S = 0.5
AFTER_HOOK_S = 0.35  # the screen is drawn anew by then
SECOND_S = 1.02  # tmux counts in whole seconds: what is drawn later in the same one is not told again


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What was heard of one agent; monotonic seconds, -inf for never."""

    looked_at: float
    stirred_at: float = float("-inf")
    """When tmux last told that its window drew something."""
    turned_at: float = float("-inf")
    """When its title, its program or its mode last changed what they say of the state."""
    told_at: float = float("-inf")
    """When its hook last told of a change."""
    busy_by_title: bool = False
    unsettled: bool = False
    """Its state ends by time alone: it starts, or its hooks and its screen disagree."""
    deadline: float = float("inf")
    """When something is to be judged although nothing was told."""
    jitter: float = 0.5
    """From 0 to 1, another one for each agent."""


@dataclass(frozen=True, slots=True)
class Due:
    """Look at `at`; an urgent look does not wait for its turn among the others."""

    at: float
    urgent: bool = False


def due(known: Known) -> Due:
    """Return when to look next."""
    looked = known.looked_at
    if known.turned_at > looked:
        return Due(known.turned_at, urgent=True)
    told = known.told_at + AFTER_HOOK_S
    if told > looked:
        return Due(told, urgent=True)
    at = min(looked + ROUND_S * (0.5 + known.jitter), known.deadline)
    if known.unsettled:
        at = looked + UNSETTLED_S
    if known.busy_by_title:
        return Due(min(at, looked + BUSY_S) if known.stirred_at + SECOND_S > looked else at)
    if known.stirred_at > looked:
        return Due(known.stirred_at)
    if known.stirred_at + SECOND_S > looked:
        return Due(min(at, known.stirred_at + SECOND_S))
    return Due(at)


def line_due(looked_at: float, stirred_at: float, rests_at: float) -> Due:
    """Return when to look next at a line-based program, whose prompt is all that there is to see.

    `rests_at` is when another look would tell that what was seen is at rest (inf: that is known). A program that
    draws all the time is looked at twice for each time that tmux tells of it.
    """
    if stirred_at > looked_at:
        return Due(stirred_at)
    again = stirred_at + SECOND_S
    return Due(min(again if again > looked_at else float("inf"), rests_at))
