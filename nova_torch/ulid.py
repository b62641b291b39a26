"""Make and check ULIDs: 48 bits of milliseconds and 80 random bits in 26 Crockford base-32 letters.

Light on purpose: the hot commands give every message its id. Source: the ULID specification.
"""

from __future__ import annotations

import os
import time

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LETTERS = frozenset(ALPHABET)


def new_ulid(now_ms: int | None = None, entropy: bytes | None = None) -> str:
    """Return a new ULID; `now_ms` (epoch) and `entropy` (10 bytes) may be given."""
    stamp = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    number = (stamp << 80) | int.from_bytes(os.urandom(10) if entropy is None else entropy, "big")
    return "".join([ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5)])


def is_ulid(text: str) -> bool:
    """Tell whether `text` is a ULID in its canonical (upper-case) form."""
    return len(text) == 26 and text[0] <= "7" and _LETTERS.issuperset(text)


def stamp_ms(ulid: str) -> int:
    """Return when a ULID was made, in milliseconds since the epoch."""
    stamp = 0
    for letter in ulid[:10]:
        stamp = stamp * 32 + ALPHABET.index(letter)
    return stamp
