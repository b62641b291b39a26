"""Name a person as a sender: `user:NAME`, as the system knows the user."""

from __future__ import annotations

import pwd


def person_of(uid: int) -> str:
    """Return `user:NAME` of a user id, or its number where that has no name."""
    try:
        return f"user:{pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user:{uid}"
