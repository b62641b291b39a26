"""What a daemon holds from its start to its end is not searched for garbage again and again."""

from __future__ import annotations

import gc

YOUNG = 10_000
"""After so many new objects the youngest are searched. Python's 700 is a few messages' worth, whose objects are all
still in use then: half of what they cost is searched for nothing."""


def kept() -> None:
    """Take all that is there now for kept: modules, configuration, drivers, agents. To be called after the start.

    A full search of a small daemon stands in the way of everything else for 10 ms, and of one with thousands of
    agents for longer; nearly all it looks at is there until the end.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)
