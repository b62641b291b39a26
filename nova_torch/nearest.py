"""Find the known name that is nearest to a mistyped one."""

from __future__ import annotations

from collections.abc import Iterable

CLOSE = 0.5
MISTYPED = 0.82
"""`cluade` is `claude` mistyped (0.83), `coder` is a word of its own and not `codex` (0.80)."""


def nearest(name: str, known: Iterable[str], *, cutoff: float = CLOSE) -> str | None:
    """Return the closest of `known` to `name`, or None when nothing is as close as `cutoff`, from 0 to 1."""
    from difflib import get_close_matches

    candidates = sorted(known)
    found = get_close_matches(name, candidates, n=1, cutoff=cutoff)
    return found[0] if found else None


def suggestion(name: str, known: Iterable[str], *, otherwise: str) -> str:
    """Return the cure for an unknown name: `Did you mean x?`, or `otherwise` when nothing is close."""
    found = nearest(name, known)
    return f"Did you mean {found}?" if found else otherwise
