"""Find the known name that is nearest to a mistyped one."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the closest of `known` to `name`, or None when nothing is close."""
    from difflib import get_close_matches

    candidates = sorted(known)
    found = get_close_matches(name, candidates, n=1, cutoff=0.5)
    return found[0] if found else None


def suggestion(name: str, known: Iterable[str], *, otherwise: str) -> str:
    """Return the cure for an unknown name: `Did you mean x?`, or `otherwise` when nothing is close."""
    found = nearest(name, known)
    return f"Did you mean {found}?" if found else otherwise
