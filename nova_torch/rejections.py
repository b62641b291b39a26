"""What a node does with the word of another one that it did not take a message for its signature. Pure.

Who may write to the broker may put anything there under the id of an honest message. So a rejection names the
bytes that were rejected by their SHA-256, and the sender's side takes it for its own message only if it would put
those very bytes there: what somebody else wrote under that id has others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from nova_torch.errors import NotAllowed
from nova_torch.values import Hop, Message, NodeId, State

REQUIRE = "require"
KEY = "signing.key_file"
CURE = f"Give this node the fleet's keys ({KEY}) and reload it: novactl rpc reload"


def digest(payload: bytes) -> str:
    """Return what names these bytes."""
    return hashlib.sha256(payload).hexdigest()


def rejection(message: Message, payload: bytes, why: str, node: NodeId, now_ms: int) -> Hop:
    """Return what `node` tells the node of a message's sender of bytes that it did not take."""
    reason = (
        f"node {node} takes only messages that are signed with the fleet's keys, and {why};"
        f" give the sender's node the keys ({KEY}) and send it again"
    )
    return Hop(
        message=message.id,
        at_ms=now_ms,
        node=node,
        state=State.FAILED,
        reason=reason,
        final=True,
        of=digest(payload),
    )


def meant(
    hop: Hop, state: State, payload: bytes, *, signs: bool, owners: Iterable[str], here: str
) -> Hop | None:
    """Return what a rejection means to a message of ours that is in `state` and goes as `payload`; None: nothing.

    From a node without a key (not `signs`) the message is over. With a key, which the other side does not have yet
    or any more, it stays where it is and says why: it is signed anew each time it is sent.
    `owners` are the nodes that had it in their mailbox, as far as `here` knows: another one may have typed it.
    """
    if state not in (State.ACCEPTED, State.QUEUED) or digest(payload) != hop.of:
        return None
    if signs:
        return replace(hop, state=State.QUEUED, final=False, of="")
    others = sorted({*owners} - {here, hop.node, ""})
    if others:
        why = f"{hop.reason}; node {', '.join(others)} had it before and may have typed it"
        return replace(hop, state=State.UNCONFIRMED, reason=why, of="")
    return replace(hop, of="")


def refusal(strict: str) -> NotAllowed:
    """Return why nothing for the node `strict`, which takes only what is signed, is accepted without a key."""
    return NotAllowed(
        f"node {strict} takes only signed messages (signing.mode = {REQUIRE}), and here is no key to sign with.",
        CURE,
    )
