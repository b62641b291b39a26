"""Build the answers of the Messages API, whole and as server-sent events. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

ANSWER = "STUB-OK"
TOOL_FILE = "toolran"
TOOL_COMMAND = f"touch {TOOL_FILE}"
PING = b'event: ping\ndata: {"type": "ping"}\n\n'


class Spoken(Protocol):
    """An answer of one of the APIs, whole and as server-sent events."""

    def message(self) -> dict[str, Any]:
        """The whole answer as one JSON object."""

    def opening(self) -> bytes:
        """The first event; a client that has it waits patiently for the rest."""

    def rest(self) -> Iterator[bytes]:
        """Every event after the opening."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the stub says: a short text, or a Bash call that the agent must ask permission for."""

    number: int
    model: str
    use_tool: bool = False
    command: str = TOOL_COMMAND

    @property
    def stop_reason(self) -> str:
        """Why the model says no more."""
        return "tool_use" if self.use_tool else "end_turn"

    @property
    def block(self) -> dict[str, Any]:
        """What it says, as a block of its content."""
        if not self.use_tool:
            return {"type": "text", "text": ANSWER}
        tool_input = {"command": self.command, "description": "Create a file"}
        return {"type": "tool_use", "id": f"toolu_{self.number}", "name": "Bash", "input": tool_input}

    def message(self) -> dict[str, Any]:
        """The whole answer as one JSON object."""
        return {**self._envelope(), "content": [self.block], "stop_reason": self.stop_reason}

    def opening(self) -> bytes:
        """The first event; a client that has it waits patiently for the rest."""
        return _event({"type": "message_start", "message": self._envelope()})

    def rest(self) -> Iterator[bytes]:
        """Every event after the opening."""
        if self.use_tool:
            empty, whole = {**self.block, "input": {}}, json.dumps(self.block["input"])
            delta = {"type": "input_json_delta", "partial_json": whole}
        else:
            empty, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": ANSWER}
        yield _event({"type": "content_block_start", "index": 0, "content_block": empty})
        yield _event({"type": "content_block_delta", "index": 0, "delta": delta})
        yield _event({"type": "content_block_stop", "index": 0})
        ending = {"stop_reason": self.stop_reason, "stop_sequence": None}
        yield _event({"type": "message_delta", "delta": ending, "usage": {"output_tokens": 3}})
        yield _event({"type": "message_stop"})

    def _envelope(self) -> dict[str, Any]:
        return {
            "id": f"msg_{self.number}",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 10, "output_tokens": 1},
        }


def _event(data: dict[str, Any]) -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()
