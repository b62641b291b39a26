"""Count how often each marked prompt reached a model, over restarts of its agent too, and when. No I/O."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from noval_d.canary.model.conversation import Request, prompts

MARKER = re.compile(r"\[\[[^\[\]]+\]\]")


def arrived(requests: Iterable[Request]) -> Counter[str]:
    """Return how often each `[[marker]]` reached the model; `requests` are all of one agent.

    Every request repeats the history of its conversation, also of one that was resumed under another name, or
    that lost its last prompt with the agent that was killed. So a conversation is known by its first marker, and
    of its requests the one that holds a marker most often counts.
    """
    most: dict[str, Counter[str]] = {}
    for request in requests:
        if not request.main:
            continue
        held: Counter[str] = Counter(MARKER.findall("\n".join(prompts([request]))))
        first = next(iter(held), "")
        most[first] = most.get(first, Counter()) | held
    return sum(most.values(), Counter())


def asked(requests: Iterable[Request]) -> list[int]:
    """Return when the model was asked in its agent's main conversation, in epoch milliseconds."""
    return [int(request.at_s * 1000) for request in requests if request.main]
