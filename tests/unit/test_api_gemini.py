"""The stub model answers as Gemini's API does, and counts what Gemini CLI sends it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from noval_d.canary.model.stub_model import StubModel

STREAM = "/v1beta/models/some-model:streamGenerateContent?alt=sse"
WHOLE = "/v1beta/models/some-model:generateContent"
TOOLS = [{"functionDeclarations": [{"name": "run_shell_command"}]}]
ANSWER = {"role": "model", "parts": [{"text": "STUB-OK"}]}


@pytest.fixture
def stub() -> Iterator[StubModel]:
    with StubModel.start() as running:
        yield running


def user(*texts: str) -> dict[str, Any]:
    return {"role": "user", "parts": [{"text": text} for text in texts]}


def post(stub: StubModel, *contents: dict[str, Any], path: str = STREAM, **more: Any) -> str:
    data = json.dumps({"contents": contents, "tools": TOOLS, **more}).encode()
    with urllib.request.urlopen(stub.url + path, data, timeout=10) as response:
        return str(response.read().decode())


def parts(answer: str) -> Any:
    return json.loads(answer.removeprefix("data: "))["candidates"][0]["content"]["parts"]


def test_a_stream_is_one_event_and_a_plain_request_one_object(stub: StubModel) -> None:
    assert post(stub, user("hello")).startswith("data: ")
    assert parts(post(stub, user("hello"))) == [{"text": "STUB-OK"}]
    assert parts(post(stub, user("hello"), path=WHOLE)) == [{"text": "STUB-OK"}]


def test_tool_mode_answers_usetool_with_a_shell_command_once(stub: StubModel) -> None:
    stub.mode = "tool"
    (call,) = parts(post(stub, user("USETOOL")))
    assert call["functionCall"]["name"] == "run_shell_command"
    result = {"role": "user", "parts": [{"functionResponse": {"response": {"output": "USETOOL"}}}]}
    assert "text" in parts(post(stub, user("USETOOL"), result))[0]


def test_a_prompt_that_many_requests_repeat_counts_once(stub: StubModel) -> None:
    post(stub, user("one [[m-1]]"))
    post(stub, user("one [[m-1]]"), ANSWER, user("two [[m-2]]\n\nthree [[m-2]]"))
    assert (stub.received("[[m-1]]"), stub.received("[[m-2]]")) == (1, 2)
    assert stub.prompts() == ["one [[m-1]]", "two [[m-2]]\n\nthree [[m-2]]"]


def test_conversations_are_told_apart_and_the_agents_own_words_are_no_prompt(stub: StubModel) -> None:
    context = user("<session_context>[[m-1]] today</session_context>")
    post(stub, context, user("one [[m-1]]"))
    post(stub, context, user("two [[m-2]]"))
    assert (stub.received("[[m-1]]"), stub.received("[[m-2]]")) == (1, 1)
    assert stub.prompts() == ["two [[m-2]]"]


def test_a_question_aside_gets_json_and_does_not_count(stub: StubModel) -> None:
    aside = {"tools": [], "generationConfig": {"responseMimeType": "application/json"}}
    assert json.loads(parts(post(stub, user("[[m-1]]"), path=WHOLE, **aside))[0]["text"])["next_speaker"]
    assert stub.received("[[m-1]]") == 0


def test_tokens_can_be_counted(stub: StubModel) -> None:
    assert json.loads(post(stub, user("x"), path="/v1beta/models/m:countTokens")) == {"totalTokens": 10}
    assert stub.requests == []
