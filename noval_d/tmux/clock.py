"""Let tmux itself judge whether a line is still in time: one that sat in a stopped server's pipe is not."""

from __future__ import annotations

CLOCK = "@nova_clock"
SET_CLOCK = (
    f"set-option -g {CLOCK} '%s'"  # quoted: a bare %s is a syntax error, and the clock would not be set
)
WINDOW_S = 60


def in_time(deadline_s: int) -> str:
    """Return a condition that is true until the wall-clock second `deadline_s` is over, by the server's clock.

    It is false, too, where SET_CLOCK has not been run on the server, and more than WINDOW_S before the deadline:
    a clock that jumped says nothing. Whole seconds are all that tmux has.
    """
    now = f"#{{T:{CLOCK}}}"
    return f"#{{&&:#{{e|<=:{now},{deadline_s}}},#{{e|>=:{now},{deadline_s - WINDOW_S}}}}}"
