"""Know whether a first prompt is just opening a conversation: the start screen is there yet, its box empty again.

What is pasted into such a box is lost with it. No I/O, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from noval_d.agents.sight import Sight

OPENS_S = 10.0  # opencode takes 0.2 s, on a machine ten times too busy 1 s; after this a draft was taken back


@dataclass(slots=True)
class Opening:
    """What was seen of one agent's start screen."""

    _typed: bool = False
    _emptied_at: float | None = None

    def saw(self, sight: Sight, now: float) -> None:
        """Take over a look at monotonic `now`."""
        if not sight.home:
            self._typed, self._emptied_at = False, None
        elif sight.composer:
            self._typed, self._emptied_at = True, None
        elif self._typed and self._emptied_at is None:
            self._emptied_at = now

    def lasts(self, now: float) -> bool:
        """Tell whether the conversation may be about to open."""
        return self._emptied_at is not None and now - self._emptied_at < OPENS_S
