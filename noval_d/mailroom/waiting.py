"""Say of a message that waits somewhere else what may be the matter. No I/O."""

from __future__ import annotations

from nova_torch.durations import spoken
from nova_torch.rejections import KEY, REQUIRE, refusal
from nova_torch.values import State

SILENT_S = 10.0
"""An owner tells sooner that it has a message and does not type it."""


def hint(
    state: State, *, owner: str, here: str, silent_s: float, strict: str, mute: bool, broker: str = ""
) -> str:
    """Return what may keep a message that is accepted or queued, and where to look; empty: nothing is known of it.

    `owner` is the node that has it, `silent_s` is since when nothing was heard of it. `strict`: the agent's node,
    if it takes only what is signed and this node signs nothing; `mute`: the owner signs nothing, and this node
    takes only what is signed, receipts too. `broker`: why it is not used, while it is not.
    """
    if state not in (State.ACCEPTED, State.QUEUED):
        return ""
    if strict:
        refused = refusal(strict)
        return f"{refused.message} {refused.hint}"
    if broker:
        return f"the broker is not used: {broker} Nothing goes to other nodes meanwhile, or is heard of them."
    if state is State.ACCEPTED or owner in (here, "") or silent_s < SILENT_S:
        return ""
    if mute:
        return (
            f"node {owner} signs nothing, so what it tells of this message is not taken here (signing.mode ="
            f" {REQUIRE}): give it the fleet's keys ({KEY})"
        )
    return (
        f"node {owner} has it and has told nothing of it for {spoken(silent_s)}: it waits behind others (novactl"
        f" agents), the node is away (novactl node show {owner}), or it does not take it, for its signature (on"
        f" {owner}: novactl doctor)"
    )
