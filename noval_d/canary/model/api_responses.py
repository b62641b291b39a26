"""OpenAI's Responses API, as Codex speaks it: read requests, build answers and their events. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from noval_d.canary.model.conversation import Request
from noval_d.canary.model.sse import ANSWER, TOOL_COMMAND

PATH = "/v1/responses"
# What Codex itself puts into user messages: where it works, a folder's instructions, what came of a turn.
OF_THE_AGENT = ("<environment_context>", "<user_instructions>", "<turn_aborted>", "# AGENTS.md instructions")


def parse(path: str, body: dict[str, Any]) -> Request:
    """Read a request body; a request with tools belongs to the main conversation of an agent."""
    given = body.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given or []
    return Request(
        path=path,
        conversation=str(body.get("prompt_cache_key", "")),
        main=bool(body.get("tools")),
        user_texts=tuple(_user_messages(items)),
    )


def unanswered(body: dict[str, Any]) -> str:
    """Return what the user has said since the model last spoke: what steers a turn comes behind it."""
    texts: list[str] = []
    items = body.get("input")
    for item in items if isinstance(items, list) else [{"role": "user", "content": items}]:
        if item.get("role") == "user":
            texts += _texts(item)
        elif item.get("role", "assistant") == "assistant":  # its words, its calls, what they gave
            texts.clear()
    return "\n".join(texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the stub says: a short text, or a shell call that leaves the sandbox: the agent must ask for it."""

    number: int
    model: str
    use_tool: bool = False
    tools: tuple[str, ...] = ()

    @classmethod
    def to(cls, body: dict[str, Any], *, number: int, use_tool: bool) -> Answer:
        """Return the answer to a request's body."""
        names = tuple(str(tool.get("name")) for tool in body.get("tools") or [])
        return cls(number=number, model=str(body.get("model")), use_tool=use_tool, tools=names)

    @property
    def item(self) -> dict[str, Any]:
        """What it says, as an item of the output."""
        if self.use_tool:
            name = next((name for name in self.tools if name in _ARGUMENTS), "shell")
            arguments = {**_ARGUMENTS[name], "sandbox_permissions": "require_escalated"}
            arguments["justification"] = "Do you want to create a file?"
            call = {"type": "function_call", "id": f"fc_{self.number}", "call_id": f"call_{self.number}"}
            return {**call, "name": name, "arguments": json.dumps(arguments), "status": "completed"}
        part = {"type": "output_text", "text": ANSWER, "annotations": []}
        message = {"type": "message", "id": f"msg_{self.number}", "role": "assistant"}
        return {**message, "status": "completed", "content": [part]}

    def message(self) -> dict[str, Any]:
        """The whole answer as one JSON object."""
        usage = {"input_tokens": 10, "output_tokens": 3, "total_tokens": 13}
        details = {
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        }
        return {**self._envelope("completed"), "output": [self.item], "usage": usage | details}

    def opening(self) -> bytes:
        """The first event; a client that has it waits patiently for the rest."""
        return _event({"type": "response.created", "response": self._envelope("in_progress")})

    def rest(self) -> Iterator[bytes]:
        """Every event after the opening."""
        if not self.use_tool:
            empty = {**self.item, "status": "in_progress", "content": []}
            where = {"item_id": self.item["id"], "output_index": 0, "content_index": 0}
            yield _event({"type": "response.output_item.added", "output_index": 0, "item": empty})
            yield _event({"type": "response.output_text.delta", **where, "delta": ANSWER})
        yield _event({"type": "response.output_item.done", "output_index": 0, "item": self.item})
        yield _event({"type": "response.completed", "response": self.message()})

    def _envelope(self, status: str) -> dict[str, Any]:
        named = {"id": f"resp_{self.number}", "object": "response", "model": self.model}
        return {**named, "status": status, "output": []}


_ARGUMENTS: dict[str, dict[str, Any]] = {
    "exec_command": {"cmd": TOOL_COMMAND},
    "shell_command": {"command": TOOL_COMMAND},
    "shell": {"command": ["bash", "-lc", TOOL_COMMAND]},
}


def _user_messages(items: Iterable[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Yield the texts of each user message; what a tool gave back is one without texts."""
    for item in items:
        if item.get("type") == "function_call_output":
            yield ()
        elif item.get("role") == "user":
            texts = tuple(text for text in _texts(item) if not text.lstrip().startswith(OF_THE_AGENT))
            if texts:
                yield texts


def _texts(item: dict[str, Any]) -> Iterator[str]:
    content = item.get("content")
    if isinstance(content, str):
        yield content
    for part in content if isinstance(content, list) else []:
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            yield part["text"]


def _event(data: dict[str, Any]) -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()
