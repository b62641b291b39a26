"""The stub model answers as the Responses API does, and what Codex itself says in a user's name is no prompt."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from noval_d.canary.model import api_responses
from noval_d.canary.model.stub_model import StubModel

TOOLS = [{"type": "function", "name": "write_stdin"}, {"type": "function", "name": "exec_command"}]
CONTEXT = "<environment_context>\n  <cwd>/[[m-1]]</cwd>\n</environment_context>"


@pytest.fixture
def stub() -> Iterator[StubModel]:
    with StubModel.start() as running:
        yield running


def user(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def body(*items: dict[str, Any], tools: bool = True, key: str = "c1", **more: Any) -> dict[str, Any]:
    offered = TOOLS if tools else []
    return {"model": "m", "input": list(items), "tools": offered, "prompt_cache_key": key, **more}


def post(stub: StubModel, data: dict[str, Any]) -> str:
    request = urllib.request.Request(stub.url + api_responses.PATH, json.dumps(data).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=10) as response:
        return str(response.read().decode())


def test_a_plain_request_is_answered_with_one_message(stub: StubModel) -> None:
    answer = json.loads(post(stub, body(user("hello"))))
    assert answer["output"][0]["content"][0]["text"] == "STUB-OK"
    assert answer["status"] == "completed"


def test_a_streaming_request_is_answered_with_the_events_in_order(stub: StubModel) -> None:
    lines = post(stub, body(user("hello"), stream=True)).splitlines()
    assert [line.removeprefix("event: ") for line in lines if line.startswith("event: ")] == [
        "response.created",
        "response.output_item.added",
        "response.output_text.delta",
        "response.output_item.done",
        "response.completed",
    ]


def test_tool_mode_answers_usetool_with_a_call_that_must_be_allowed(stub: StubModel) -> None:
    stub.mode = "tool"
    (call,) = json.loads(post(stub, body(user("USETOOL please"))))["output"]
    assert (call["type"], call["name"]) == ("function_call", "exec_command")
    arguments = json.loads(call["arguments"])
    assert arguments["cmd"] == "touch toolran"
    assert arguments["sandbox_permissions"] == "require_escalated"


def test_tool_mode_does_not_ask_again_after_the_tool_has_run(stub: StubModel) -> None:
    stub.mode = "tool"
    result = {"type": "function_call_output", "call_id": "call_1", "output": "USETOOL"}
    (item,) = json.loads(post(stub, body(user("USETOOL"), result)))["output"]
    assert item["type"] == "message"


def test_a_message_counts_once_and_not_where_codex_itself_names_it(stub: StubModel) -> None:
    first, answer = user("one [[m-1]]"), {"type": "message", "role": "assistant", "content": "[[m-1]]"}
    post(stub, body(user(CONTEXT), first))
    post(stub, body(user(CONTEXT), first, answer, user("two [[m-2]]")))
    post(stub, body(user("a title for: one [[m-1]]"), tools=False, key="c2"))
    assert (stub.received("[[m-1]]"), stub.received("[[m-2]]")) == (1, 1)
    assert stub.prompts() == ["one [[m-1]]", "two [[m-2]]"]
