"""Decide what is told back of a bridged message. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from nova_torch.values import Hop, Receipt, State
from noval_d.bridges.boomerang import DIALECT, tells_of
from noval_d.bridges.draft import Origin

Due = tuple[str, State, str]
"""Under which key it is told once, the state and its reason."""


def due(origin: Origin, receipt: Receipt, hops: Sequence[Hop], told: Sequence[str]) -> list[Due]:
    """Return what has to be told now, in order: each key once.

    An answer always is. Of the rest a dialect is told the verdict, with `receipts = "all"` every state on the way;
    central task management hears that a task is in progress, or that it is blocked.
    """
    now = (receipt.state, receipt.reason)
    if origin.dialect == DIALECT:
        if origin.receipts == "none":  # what an agent says to a notice is nobody's
            return []
        key = tells_of(receipt.state)
        return [(key, *now)] if key and key not in told else []
    states: list[tuple[State, str]] = []
    if origin.receipts == "all":
        states = [(hop.state, hop.reason) for hop in hops]
    elif receipt.final and origin.receipts == "final":
        # a fast answer comes over the verdict before it: who waits for that gets it first
        states = [(hop.state, hop.reason) for hop in hops if hop.final]
    if receipt.state is State.REPLIED or (origin.receipts == "final" and receipt.final):
        states.append(now)
    made: dict[str, Due] = {}
    for state, reason in states:
        if state.value not in told:
            made.setdefault(state.value, (state.value, state, reason))
    return list(made.values())
