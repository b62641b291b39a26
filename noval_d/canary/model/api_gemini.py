"""Speak Gemini's generateContent API, whole and streamed, as Gemini CLI asks it. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from noval_d.canary.model.conversation import Request
from noval_d.canary.model.sse import ANSWER, TOOL_COMMAND

ROUTE = re.compile(r"/v1(?:beta|alpha)/models/(.*)")
CONTEXT = "<session_context>"  # what the agent says of the day and the folder, in front of every conversation
# What the agent asks besides the conversation is answered as it wants: who speaks next, which model to take.
ASIDE = {
    "reasoning": "none",
    "next_speaker": "user",
    "model_choice": "flash",
    "complexity_reasoning": "none",
    "complexity_score": 10,
}


def call_of(path: str) -> str | None:
    """Return the call that a path names, such as `some-model:generateContent`; None when it is none of this API."""
    found = ROUTE.fullmatch(path)
    return found[1] if found is not None else None


def parse(path: str, body: Mapping[str, Any]) -> Request:
    """Read a request body; a request with tools belongs to the conversation.

    Nothing in it names the conversation, but its first prompt is repeated by every request.
    """
    messages = [
        tuple(text for part in content.get("parts", []) if _said(text := part.get("text")))
        for content in body.get("contents", [])
        if content.get("role", "user") == "user"
    ]
    first = next((texts for texts in messages if texts), ())
    return Request(
        path=path,
        conversation=sha256(repr(first).encode()).hexdigest()[:16],
        main=bool(body.get("tools")),
        user_texts=tuple(messages),
    )


def _said(text: object) -> bool:
    return isinstance(text, str) and not text.lstrip().startswith(CONTEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the stub says: a short text, or a shell command that the agent must ask permission for."""

    part: Mapping[str, Any]

    @classmethod
    def to(cls, body: Mapping[str, Any], *, use_tool: bool) -> Answer:
        """Return the answer to a request's body."""
        if use_tool:
            arguments = {"command": TOOL_COMMAND, "description": "Create a file"}
            return cls(part={"functionCall": {"name": "run_shell_command", "args": arguments}})
        if (body.get("generationConfig") or {}).get("responseMimeType") == "application/json":
            return cls(part={"text": json.dumps(ASIDE)})
        return cls(part={"text": ANSWER})

    def message(self) -> dict[str, Any]:
        """The whole answer as one JSON object."""
        content = {"role": "model", "parts": [self.part]}
        return {
            "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
            "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 3, "totalTokenCount": 13},
            "modelVersion": "stub",
        }

    def opening(self) -> bytes:
        """Nothing: the API has no event that opens an answer."""
        return b""

    def rest(self) -> Iterator[bytes]:
        """The whole answer as one event."""
        yield f"data: {json.dumps(self.message())}\n\n".encode()
