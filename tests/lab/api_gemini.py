"""Speak Gemini's generateContent API, whole and streamed, as Gemini CLI asks it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.lab.conversation import Request
from tests.lab.sse import ANSWER, TOOL_COMMAND

if TYPE_CHECKING:
    from tests.lab.stub_model import StubModel

ROUTE = "/{version:v1beta|v1alpha}/models/{call:.*}"
CONTEXT = "<session_context>"  # what the agent says of the day and the folder, in front of every conversation
# What the agent asks besides the conversation is answered as it wants: who speaks next, which model to take.
ASIDE = {
    "reasoning": "none",
    "next_speaker": "user",
    "model_choice": "flash",
    "complexity_reasoning": "none",
    "complexity_score": 10,
}


async def serve(stub: StubModel, request: web.Request) -> web.StreamResponse:
    """Answer one request and record it with `stub`: its delay and its mode hold here, too."""
    body: dict[str, Any] = await request.json()
    call = request.match_info["call"]
    if call.endswith(":countTokens"):
        return web.json_response({"totalTokens": 10})
    asked = parse(request.path, body)
    stream = "stream" in call
    stub._record(asked, {"model": call.partition(":")[0], "stream": stream})
    use_tool = asked.main and stub.mode == "tool" and "USETOOL" in asked.last_prompt
    answer = reply(body, use_tool=use_tool)
    if not stream:
        await stub._pause(asked, None)
        return web.json_response(answer)
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    try:
        await stub._pause(asked, None)
        await response.write(f"data: {json.dumps(answer)}\n\n".encode())
        await response.write_eof()
    except ConnectionResetError:
        pass  # the agent hung up: its turn was interrupted
    return response


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


def reply(body: Mapping[str, Any], *, use_tool: bool) -> dict[str, Any]:
    """Return the answer: a short text, or a shell command that the agent must ask permission for."""
    part: dict[str, Any] = {"text": ANSWER}
    if use_tool:
        arguments = {"command": TOOL_COMMAND, "description": "Create a file"}
        part = {"functionCall": {"name": "run_shell_command", "args": arguments}}
    elif (body.get("generationConfig") or {}).get("responseMimeType") == "application/json":
        part = {"text": json.dumps(ASIDE)}
    return {
        "candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 3, "totalTokenCount": 13},
        "modelVersion": "stub",
    }
