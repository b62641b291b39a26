"""Decide whether an agent's start is over, so that it takes a text and its Enter. No I/O, no clock."""

from __future__ import annotations

from noval_d.agents.driver import Driver

OLD_PROCESS_S = 60.0  # an agent that has run this long is past its start, whoever saw it start


def past_start(
    driver: Driver,
    *,
    stood_s: float | None,
    told_s: float | None,
    age_s: float,
    begun: bool = False,
    prompted: bool = False,
) -> bool:
    """Tell whether the agent is ready; times are seconds until now.

    `stood_s` is how long its input box has stood without a break (None: there is none), `told_s` how long ago its
    hook told of the start or of a prompt (None: no hook did), `age_s` how old its process is; `begun` that its
    screen shows what it shows only after its start; `prompted` that it was started with a first prompt, and no hook
    told that it has taken it: Claude empties its input box then, and a text that was just pasted goes with it.
    """
    if prompted:
        told_s = None
    if told_s is not None and not driver.ready_after_hook_s:
        return True
    if stood_s is None:
        return False
    if begun or age_s > OLD_PROCESS_S:
        return True
    if told_s is not None:
        return min(stood_s, told_s) >= driver.ready_after_hook_s
    return stood_s >= driver.ready_after_s
