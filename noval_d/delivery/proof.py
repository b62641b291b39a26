"""Match the prompts that an agent's hook reports with the texts that were typed into it. Pure. DELIVERY 4.1."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

_SPACE = re.compile(r"\s+")
CONTAINED_CHARS = 24  # a shorter text inside another prompt proves nothing
PIECE_CHARS = 12  # so much of a text in a prompt may have come from nowhere else
PIECES_CHARS = 4096  # of the beginning and of the end of a text: what was sent of it holds one of them
BESIDE = "somebody else's text was sent with it, as one prompt"


@dataclass(frozen=True, slots=True)
class Proven:
    """Which of the typed texts a prompt proves; `beside`: other text stood around them in it."""

    indexes: tuple[int, ...] = ()
    beside: bool = False


def collapsed(text: str) -> str:
    """Return `text` without white space and composed: agents re-wrap, trim, expand tabs and compose letters."""
    return _SPACE.sub("", unicodedata.normalize("NFC", text))


def matched(prompt: str, typed: Sequence[str], *, cut: bool = False) -> Proven:
    """Return which of `typed` (in the order they were typed) this prompt proves to have been received.

    The prompt is one of the texts, or several consecutive ones that the agent has joined, or holds a long one
    (a person's draft may stand around it). With `cut` it is only the beginning of a very long one.
    """
    heard = collapsed(prompt)
    texts = [collapsed(text) for text in typed]
    if cut:
        # composing may differ right where it was cut
        beginning = heard[: -CONTAINED_CHARS or None]
        begun = (n for n, text in enumerate(texts) if beginning and text.startswith(beginning))
        return Proven(next(((n,) for n in begun), ()))
    for index, text in enumerate(texts):
        if text == heard:
            return Proven((index,))
    for start in range(len(texts)):
        joined = ""
        for end in range(start, len(texts)):
            joined += texts[end]
            if end > start and joined == heard:
                return Proven(tuple(range(start, end + 1)))
            if not heard.startswith(joined):
                break
    found: list[int] = []
    position = 0
    for index, text in enumerate(texts):
        at = heard.find(text, position) if len(text) >= CONTAINED_CHARS else -1
        if at >= 0:
            found.append(index)
            position = at + len(text)
    return Proven(tuple(found), beside=bool(found))


def has_piece(prompt: str, typed: str) -> bool:
    """Tell whether a piece of `typed` may be in this prompt: fused with another text, or cut off from the rest."""
    heard, ours = collapsed(prompt), collapsed(typed)
    size = min(PIECE_CHARS, len(ours))
    pieces = {heard[at : at + size] for at in range(len(heard) - size + 1)}
    ends = (ours[:PIECES_CHARS], ours[-PIECES_CHARS:])
    return any(end[at : at + size] in pieces for end in ends for at in range(len(end) - size + 1))
