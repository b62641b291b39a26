"""Count how far the messages to a group are. Pure, and light: novactl asks it, the daemon and the library."""

from __future__ import annotations

from nova_torch.words import PROVEN, UNDELIVERED

TYPE_CHECKING = False  # `typing` itself takes its time
if TYPE_CHECKING:
    from collections.abc import Iterable


class Count:
    """How many of `total` are as far as is waited for, will not get there (`lost`), or may not say so (`silent`).

    Silent is who got it and reports nothing further: no hook tells that it read it.
    """

    __slots__ = ("lost", "silent", "there", "total")

    def __init__(self, *, total: int, there: int, lost: int, silent: int) -> None:
        self.total = total
        self.there = there
        self.lost = lost
        self.silent = silent

    def __repr__(self) -> str:
        return f"<Count {self.there} of {self.total} lost={self.lost} silent={self.silent}>"

    def lacks(self, least: int) -> bool:
        """Tell whether `least` cannot get there any more."""
        return self.total - self.lost - self.silent < least

    def decided(self, least: int) -> bool:
        """Tell whether `least` are there, or cannot be any more."""
        return self.there >= least or self.lacks(least)


def count(receipts: Iterable[tuple[str, bool]], wait: str) -> Count:
    """Count receipts, each its state and whether that is final, by what is waited for: one of PROVEN.

    Who got it and is final may still answer: it is not silent as long as answers are waited for.
    """
    total = there = lost = silent = 0
    for state, final in receipts:
        total += 1
        if state in UNDELIVERED:
            lost += 1
        elif state in PROVEN and PROVEN.index(state) >= PROVEN.index(wait):
            there += 1
        elif final and wait != "replied":
            silent += 1
    return Count(total=total, there=there, lost=lost, silent=silent)
