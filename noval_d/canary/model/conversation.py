"""Read what a person's prompts were out of Messages API requests. No I/O."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

# Text blocks the agent writes into user messages: reminders, and what local commands such as /clear leave.
OF_THE_AGENT = ("<system-reminder>", "<local-command-", "<command-name>")
# A prompt queued during a turn that uses tools is no user message: Claude Code 2.1 puts it into a system one.
MID_TURN = re.compile(
    r"The user sent a new message while you were working:\n(.*?)\n\nIMPORTANT: After completing", re.DOTALL
)


# A prompt that tells the stub model which Bash command to call for.
ORDER = re.compile(r"RUN<<(.*?)>>", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request to the model: who asked, and the texts of every user message it carried, in order.

    What the agent passed on of a person while a turn was under way counts as a user message.
    """

    path: str
    conversation: str
    main: bool
    user_texts: tuple[tuple[str, ...], ...]
    at_s: float = field(default_factory=time.time)

    @property
    def last_prompt(self) -> str:
        """The texts of the newest user message, empty when it holds only tool results."""
        return "\n".join(self.user_texts[-1]) if self.user_texts else ""


def order(asked: Request) -> str | None:
    """Return the command that the newest prompt tells the model to run, if it does."""
    found = ORDER.search(asked.last_prompt) if asked.main else None
    return found[1] if found is not None else None


def parse(path: str, body: dict[str, Any]) -> Request:
    """Read a request body; a request with tools belongs to the main conversation of an agent."""
    return Request(
        path=path,
        conversation=str((body.get("metadata") or {}).get("user_id", "")),
        main=bool(body.get("tools")),
        user_texts=tuple(user_messages(body.get("messages", []))),
    )


def prompts(requests: Sequence[Request]) -> list[str]:
    """The prompts of the conversation that spoke last, in order, without what the agent itself put there.

    A line feed at the end is cut: Claude Code adds one where it joins queued prompts to one message.
    """
    main = [r for r in requests if r.main]
    if not main:
        return []
    return _prompts(_fullest(r for r in main if r.conversation == main[-1].conversation))


def count(requests: Sequence[Request], marker: str) -> int:
    """How often `marker` stands in the prompts of all conversations.

    Every request repeats the whole history, so only the fullest request of each conversation counts.
    """
    conversations = {r.conversation for r in requests if r.main}
    fullest = (_fullest(r for r in requests if r.main and r.conversation == name) for name in conversations)
    return sum(text.count(marker) for request in fullest for text in _prompts(request))


def _prompts(request: Request) -> list[str]:
    texts = [text for texts in request.user_texts for text in texts]
    return [text.rstrip("\n") for text in texts if not text.lstrip().startswith(OF_THE_AGENT)]


def _fullest(requests: Iterable[Request]) -> Request:
    """The request with the longest history; of equal ones the newest."""
    return max(enumerate(requests), key=lambda item: (len(item[1].user_texts), item[0]))[1]


def user_messages(messages: Iterable[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Return the texts of each user message, in order."""
    for message in messages:
        texts = _texts(message.get("content"))
        mid_turn = tuple(found for text in texts for found in MID_TURN.findall(text))
        if mid_turn or message.get("role") == "user":
            yield mid_turn or texts


def _texts(content: object) -> tuple[str, ...]:
    if isinstance(content, str):
        return (content,)
    blocks = content if isinstance(content, list) else []
    return tuple(block["text"] for block in blocks if isinstance(block, dict) and block.get("type") == "text")
