"""Know from tmux's count of `send-keys` whether somebody else's may still be undrawn in a pane. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

DRAWS_S = 0.3  # an agent that has read keys shows them within this; the original's Enter comes after 0.5 s
SLOW_S = 1.0  # on a machine at load 16 one in three took longer than that, and 6 of 190 longer than this
FOR_EVER_S = 2.0  # keys that come without a pause for this long are not waited for: nobody writes a prompt so

Cursor = tuple[int, int]


@dataclass(frozen=True, slots=True)
class TheirKeys:
    """When a look saw that keys had been sent by others; monotonic seconds."""

    count: str | None = None
    """As the last look found it; None: there was none."""
    cursor: Cursor = (0, 0)
    """Where it stood at the last look."""
    at: float = -1e9
    since: float = -1e9
    """When the first of them came that followed each other without a pause."""
    still: bool = False
    """The cursor has not moved since: what they type is not drawn, or they draw nothing."""

    def saw(self, count: str, cursor: Cursor, now: float) -> TheirKeys:
        """Return what is known after a look that found `count`, and the cursor there."""
        if self.count is None:
            return replace(self, count=count, cursor=cursor)
        if count == self.count:
            return replace(self, cursor=cursor, still=self.still and cursor == self.cursor)
        since = self.since if self._awaited(now) else now
        return TheirKeys(count, cursor, now, since, still=cursor == self.cursor)

    def undrawn(self, now: float) -> bool:
        """Tell whether what they type may not be drawn yet."""
        return self._awaited(now) and now - self.since < FOR_EVER_S

    def _awaited(self, now: float) -> bool:
        return now - self.at < (SLOW_S if self.still else DRAWS_S)
