"""Decide when a message of which nothing is heard is put into its mailbox once more. No I/O, no clock."""

from __future__ import annotations

SILENT_S = 60.0
"""Without any receipt for this long it is put there again."""
TWIN_S = 1.0
"""So soon at first, then ever later, when it lay there already: receipts go to whoever put it there before."""


class Again:
    """Decides when a message that nothing is heard of is put into its mailbox once more: it is typed once.

    One for each message, however often somebody begins to follow it: of many each is followed for a while only.
    """

    def __init__(self, now: float, *, twin: bool, losses: int = 0) -> None:
        self._heard_at = now
        self._pause_s = TWIN_S if twin else SILENT_S
        self._losses = losses
        self._receipts = 0

    def __repr__(self) -> str:
        return f"<Again after {self._pause_s:g} s>"

    @property
    def spaced(self) -> bool:
        """Whether it is put there as seldom as any message by now."""
        return self._pause_s >= SILENT_S

    def heard(self, now: float, receipts: int) -> None:
        """So many receipts of it are known."""
        if receipts > self._receipts:
            self._heard_at, self._receipts = now, receipts

    def due(self, now: float, losses: int = 0) -> bool:
        """Tell whether it is time. `losses`: how often the broker has lost its data."""
        return losses != self._losses or now - self._heard_at > self._pause_s

    def done(self, now: float, losses: int = 0, *, well: bool) -> None:
        """It was put there again, or could not be: no node has the mailbox of a wiped broker at once."""
        self._heard_at, self._losses = now, losses
        self._pause_s = min(2 * self._pause_s, SILENT_S) if well else TWIN_S
