"""Speak OpenAI's chat-completions API, as opencode and aider ask it. No I/O; `StubModel` serves it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from noval_d.canary.model.conversation import Request, user_messages
from noval_d.canary.model.sse import ANSWER, TOOL_COMMAND

PATH = "/v1/chat/completions"
PING = b": ping\n\n"
END = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}


TITLE = "Generate a title for this conversation:"
# opencode wraps what was queued during a turn that uses tools
MID_TURN = re.compile(
    r"<system-reminder>\nThe user sent the following message:\n(.*?)\n\nPlease address this message",
    re.DOTALL,
)


def parse(path: str, body: dict[str, Any], before: Sequence[Request]) -> Request:
    """Read a request body; `before` are the requests so far.

    No request names its conversation, so it belongs to the one whose history it repeats. A title is none's.
    """
    texts = tuple(
        tuple(_unwrapped(text) for text in texts) for texts in user_messages(body.get("messages", []))
    )
    main = not (texts and texts[0] and texts[0][0].startswith(TITLE))
    earlier = [request for request in before if request.main and request.path == path]
    names = (request.conversation for request in reversed(earlier) if continues(request.user_texts, texts))
    conversation = next(names, f"chat-{len(before)}")
    return Request(path=path, conversation=conversation, main=main, user_texts=texts)


def continues(before: Sequence[Sequence[str]], after: Sequence[Sequence[str]]) -> bool:
    """Tell whether `after` repeats the user messages of `before`, and maybe adds some.

    aider puts its instructions behind the newest prompt, and takes them away when the next one comes.
    """
    pairs = list(zip(map("\n".join, before), map("\n".join, after), strict=False))
    alike = all(new.startswith(old) or old.startswith(new) for old, new in pairs if old and new)
    return alike and len(after) >= len(before)


def _unwrapped(text: str) -> str:
    found = MID_TURN.search(text)
    return found.group(1) if found else text


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the stub says: a short text, or a call of the agent's `bash` tool, which needs a permission.

    An agent without tools (aider) gets the command as a piece of text, and asks whether to run it.
    """

    number: int
    model: str
    use_tool: bool = False
    has_tools: bool = True

    @property
    def finish_reason(self) -> str:
        """Why the model says no more."""
        return "tool_calls" if self.use_tool and self.has_tools else "stop"

    @property
    def content(self) -> dict[str, Any]:
        """What the assistant's message holds besides its role."""
        if not self.use_tool:
            return {"content": ANSWER}
        if not self.has_tools:
            return {"content": f"```bash\n{TOOL_COMMAND}\n```\n"}
        arguments = json.dumps({"command": TOOL_COMMAND, "description": "Create a file"})
        call = {"name": "bash", "arguments": arguments}
        return {
            "tool_calls": [{"index": 0, "id": f"call_{self.number}", "type": "function", "function": call}]
        }

    def message(self) -> dict[str, Any]:
        """The whole answer as one JSON object."""
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": None, **self.content},
            "finish_reason": self.finish_reason,
        }
        return {**self._envelope("chat.completion"), "choices": [choice], "usage": USAGE}

    def opening(self) -> bytes:
        """The first event; a client that has it waits patiently for the rest."""
        return self._chunk({"role": "assistant", "content": ""})

    def rest(self) -> Iterator[bytes]:
        """Every event after the opening."""
        yield self._chunk(self.content)
        yield self._chunk({}, self.finish_reason, usage=USAGE)
        yield END

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        chunk = {**self._envelope("chat.completion.chunk"), "choices": [choice], **more}
        return f"data: {json.dumps(chunk)}\n\n".encode()

    def _envelope(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self.number}",
            "object": kind,
            "created": int(time.time()),
            "model": self.model,
        }
