"""The stub model answers as the Messages API does and counts a message once, however often it is repeated."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from noval_d.canary.model import conversation
from noval_d.canary.model.stub_model import StubModel

TOOLS = [{"name": "Bash"}]
REMINDER = {"type": "text", "text": "<system-reminder>[[m-1]] is not yours</system-reminder>"}


@pytest.fixture
def stub() -> Iterator[StubModel]:
    with StubModel.start() as running:
        yield running


def user(*texts: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text} for text in texts]}


def body(*messages: dict[str, Any], tools: bool = True, session: str = "s1", **more: Any) -> dict[str, Any]:
    offered = TOOLS if tools else []
    return {"model": "m", "messages": messages, "tools": offered, "metadata": {"user_id": session}, **more}


def post(stub: StubModel, data: dict[str, Any], path: str = "/v1/messages?beta=true") -> str:
    request = urllib.request.Request(stub.url + path, json.dumps(data).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=10) as response:
        return str(response.read().decode())


def test_a_plain_request_is_answered_with_one_message(stub: StubModel) -> None:
    answer = json.loads(post(stub, body(user("hello"))))
    assert answer["content"] == [{"type": "text", "text": "STUB-OK"}]
    assert answer["stop_reason"] == "end_turn"


def test_a_prompt_may_say_which_command_the_model_calls_for(stub: StubModel) -> None:
    asked = body(user("please RUN<<echo 'a b'>> now"))
    assert json.loads(post(stub, asked))["content"][0]["type"] == "text"
    stub.mode = "tool"
    (call,) = json.loads(post(stub, asked))["content"]
    assert (call["name"], call["input"]["command"]) == ("Bash", "echo 'a b'")
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call["id"], "content": "x"}]}
    after = body(user("please RUN<<echo 'a b'>> now"), result)
    assert json.loads(post(stub, after))["content"][0]["type"] == "text"


def test_a_streaming_request_is_answered_with_the_events_in_order(stub: StubModel) -> None:
    lines = post(stub, body(user("hello"), stream=True)).splitlines()
    assert [line.removeprefix("event: ") for line in lines if line.startswith("event: ")] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_tokens_can_be_counted(stub: StubModel) -> None:
    assert json.loads(post(stub, body(user("x")), "/v1/messages/count_tokens")) == {"input_tokens": 10}
    assert stub.requests == []


def test_an_unknown_route_is_a_404_in_json(stub: StubModel) -> None:
    with pytest.raises(urllib.error.HTTPError) as raised:
        post(stub, {}, "/v1/other")
    with raised.value as response:
        assert response.status == 404
        assert json.load(response)["error"]["type"] == "not_found_error"


def test_tool_mode_answers_a_prompt_holding_usetool_with_a_bash_call(stub: StubModel) -> None:
    stub.mode = "tool"
    answer = json.loads(post(stub, body(user("USETOOL please"))))
    assert answer["content"][0]["input"]["command"] == "touch toolran"
    assert answer["stop_reason"] == "tool_use"


def test_tool_mode_does_not_ask_again_after_the_tool_has_run(stub: StubModel) -> None:
    stub.mode = "tool"
    result = {"role": "user", "content": [{"type": "tool_result", "content": "USETOOL"}]}
    assert json.loads(post(stub, body(user("USETOOL"), result)))["stop_reason"] == "end_turn"


def test_a_side_request_is_answered_at_once(stub: StubModel) -> None:
    stub.delay_s = 30
    began = time.monotonic()
    post(stub, body(user("a title please"), tools=False))
    assert time.monotonic() - began < 25


def test_lowering_the_delay_ends_a_wait_under_way(stub: StubModel) -> None:
    stub.delay_s = 30
    asking = threading.Thread(target=post, args=(stub, body(user("[[m-1]]"), stream=True)))
    asking.start()
    assert stub.wait_received("[[m-1]]") == 1
    stub.delay_s = 0
    asking.join(5)
    assert not asking.is_alive()


def test_a_message_in_the_history_of_many_requests_counts_once(stub: StubModel) -> None:
    first, answer = user("one [[m-1]]"), {"role": "assistant", "content": "ok"}
    post(stub, body(first))
    post(stub, body(first, answer, user("two [[m-2]]")))
    assert (stub.received("[[m-1]]"), stub.received("[[m-2]]"), stub.received("[[m-3]]")) == (1, 1, 0)


def test_a_message_submitted_twice_counts_twice(stub: StubModel) -> None:
    post(stub, body(user("one [[m-1]]"), user("one [[m-1]]")))
    assert stub.received("[[m-1]]") == 2


def test_two_messages_merged_into_one_are_counted_each(stub: StubModel) -> None:
    post(stub, body(user("a [[m-1]]\nb [[m-1]]")))
    assert stub.received("[[m-1]]") == 2


def test_a_side_request_does_not_count(stub: StubModel) -> None:
    post(stub, body(user("title of [[m-1]]"), tools=False))
    assert stub.received("[[m-1]]") == 0


def test_messages_of_two_agents_are_both_found(stub: StubModel) -> None:
    post(stub, body(user("[[m-1]]"), session="s1"))
    post(stub, body(user("[[m-2]]"), session="s2"))
    assert (stub.received("[[m-1]]"), stub.received("[[m-2]]")) == (1, 1)
    assert stub.prompts() == ["[[m-2]]"]


def test_prompts_leave_out_reminders_tool_results_and_local_commands() -> None:
    result = {"role": "user", "content": [{"type": "tool_result", "content": "out"}]}
    data = body({"role": "user", "content": [REMINDER, *user("first")["content"]]}, result, user("second\n"))
    data["messages"] = [user("<command-name>/clear</command-name>"), *data["messages"]]
    assert conversation.prompts([conversation.parse("/v1/messages", data)]) == ["first", "second"]


def test_a_prompt_passed_on_during_a_turn_is_a_prompt() -> None:
    lead, tail = (
        "The user sent a new message while you were working:\n",
        "\n\nIMPORTANT: After completing it.",
    )
    passed_on = {"role": "system", "content": f"{lead}two [[m-2]]\n\nmore{tail}\n\n{lead}three{tail}"}
    request = conversation.parse(
        "/v1/messages", body(user("one"), {"role": "system", "content": "x"}, passed_on)
    )
    assert conversation.prompts([request]) == ["one", "two [[m-2]]\n\nmore", "three"]
    assert conversation.count([request], "[[m-2]]") == 1


def test_requests_are_logged_as_json_lines(tmp_path: Path) -> None:
    log = tmp_path / "requests.jsonl"
    with StubModel.start(log=log) as stub:
        post(stub, body(user("hello")))
    (line,) = [json.loads(row) for row in log.read_text().splitlines()]
    assert (line["main"], line["user_texts"]) == (True, [["hello"]])


def test_it_serves_asynchronous_tests_too() -> None:
    async def ask() -> str:
        async with StubModel() as stub:
            return await asyncio.to_thread(post, stub, body(user("hello")))

    assert "STUB-OK" in asyncio.run(ask())


def test_a_taken_port_is_an_error(stub: StubModel) -> None:
    with pytest.raises(RuntimeError, match="did not start"):
        StubModel.start(port=stub.port)


def test_stopping_twice_is_harmless_and_keeps_what_was_recorded(stub: StubModel) -> None:
    post(stub, body(user("[[m-1]]")))
    stub.stop()
    stub.stop()
    assert stub.received("[[m-1]]") == 1
