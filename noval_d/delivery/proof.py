"""Match the prompts that an agent's hook reports with the texts that were typed into it. Pure. DELIVERY 4.1."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_SPACE = re.compile(r"\s+")
CONTAINED_CHARS = 24  # a shorter text inside another prompt proves nothing


def collapsed(text: str) -> str:
    """Return `text` without white space and composed: agents re-wrap, trim, expand tabs and compose letters."""
    return _SPACE.sub("", unicodedata.normalize("NFC", text))


def matched(prompt: str, typed: Sequence[str], *, cut: bool = False) -> tuple[int, ...]:
    """Return which of `typed` (in the order they were typed) this prompt proves to have been received.

    The prompt is one of the texts, or several consecutive ones that the agent has joined, or holds a long one
    (a person's draft may stand around it). With `cut` it is only the beginning of a very long one.
    """
    heard = collapsed(prompt)
    texts = [collapsed(text) for text in typed]
    if cut:
        # composing may differ right where it was cut
        beginning = heard[: -CONTAINED_CHARS or None]
        return next(((n,) for n, text in enumerate(texts) if beginning and text.startswith(beginning)), ())
    for index, text in enumerate(texts):
        if text == heard:
            return (index,)
    for start in range(len(texts)):
        joined = ""
        for end in range(start, len(texts)):
            joined += texts[end]
            if end > start and joined == heard:
                return tuple(range(start, end + 1))
            if not heard.startswith(joined):
                break
    found: list[int] = []
    position = 0
    for index, text in enumerate(texts):
        at = heard.find(text, position) if len(text) >= CONTAINED_CHARS else -1
        if at >= 0:
            found.append(index)
            position = at + len(text)
    return tuple(found)
