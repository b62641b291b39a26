"""Decide what a node says with its next beat: what is new at once, the whole now and then, else nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from nova_torch.broker.node import News

JITTER = (0.7, 1.3)


@dataclass(frozen=True, slots=True)
class Said:
    """What goes with a beat."""

    news: News
    blob: bytes
    essence: object


class Saying:
    """What the broker has been told of this node. `whole` and `essence` make the blob and what of it is news."""

    def __init__(
        self,
        whole: Callable[[], bytes],
        essence: Callable[[], object],
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._whole = whole
        self._essence = essence
        self._jitter = jitter
        self._known: object = None
        self._again_at = 0.0

    def __repr__(self) -> str:
        return f"<Saying {'said' if self._known is not None else 'to be said'}>"

    def next(self, now: float) -> Said:
        """Return what goes with the next beat."""
        essence = self._essence()
        if essence != self._known:
            return Said("new", self._whole(), essence)
        return Said("again", self._whole(), essence) if now >= self._again_at else Said("same", b"", essence)

    def said(self, said: Said, now: float, again_s: float) -> None:
        """Note that the broker has it; the whole is said again in about `again_s`."""
        self._known = said.essence
        if said.news != "same":
            self._again_at = now + again_s * self._jitter(*JITTER)

    def last_word(self) -> bytes:
        """Return the whole as it is now."""
        return self._whole()

    def forget(self) -> None:
        """The broker does not have it (any more), or another one is asked: say the whole with the next beat."""
        self._known = None
