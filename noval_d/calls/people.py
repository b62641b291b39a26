"""Name a person who calls, as the kernel tells."""

from __future__ import annotations

from nova_torch.people import person_of
from noval_d.control.calls import Peer


def person(peer: Peer) -> str:
    """Return `user:NAME` of the caller's user, or its number where that has no name."""
    return person_of(peer.uid)
