"""Know from tmux's count of `send-keys` whether somebody else's may still be undrawn in a pane. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

DRAWS_S = 0.3  # an agent that has read keys shows them within this; the original's Enter comes after 0.5 s
FOR_EVER_S = 2.0  # keys that come without a pause for this long are not waited for: nobody writes a prompt so


@dataclass(frozen=True, slots=True)
class TheirKeys:
    """When a look saw that keys had been sent by others; monotonic seconds."""

    count: str | None = None
    """As the last look found it; None: there was none."""
    at: float = -1e9
    since: float = -1e9
    """When the first of them came that followed each other without a pause."""

    def saw(self, count: str, now: float) -> TheirKeys:
        """Return what is known after a look that found `count`."""
        if self.count is None or count == self.count:
            return replace(self, count=count)
        return TheirKeys(count, now, self.since if now - self.at < DRAWS_S else now)

    def undrawn(self, now: float) -> bool:
        """Tell whether what they type may not be drawn yet."""
        return now - self.at < DRAWS_S and now - self.since < FOR_EVER_S
