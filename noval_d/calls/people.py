"""Name a person who calls, as the kernel tells."""

from __future__ import annotations

import pwd

from noval_d.control.calls import Peer


def person(peer: Peer) -> str:
    """Return `user:NAME` of the caller's user, or its number where that has no name."""
    try:
        return f"user:{pwd.getpwuid(peer.uid).pw_name}"
    except KeyError:
        return f"user:{peer.uid}"
