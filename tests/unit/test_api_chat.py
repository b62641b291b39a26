"""Requests of the chat-completions API are read, and its answers built, as opencode and aider need them."""

from __future__ import annotations

import json
from typing import Any

from noval_d.canary.model import api_chat, conversation
from noval_d.canary.model.conversation import Request


def asked(*contents: str, before: tuple[Request, ...] = ()) -> Request:
    body = {"messages": [{"role": "user", "content": content} for content in contents]}
    return api_chat.parse(api_chat.PATH, body, before)


def told(*histories: tuple[str, ...]) -> list[Request]:
    requests: list[Request] = []
    for history in histories:
        requests.append(asked(*history, before=tuple(requests)))
    return requests


def chunks(answer: api_chat.Answer) -> list[Any]:
    *events, end = [answer.opening(), *answer.rest()]
    assert end == api_chat.END
    return [json.loads(event.removeprefix(b"data: ")) for event in events]


def test_a_history_that_is_repeated_counts_once() -> None:
    requests = told(("hello [[m]]",), ("hello [[m]]", "more [[n]]"))
    assert [conversation.count(requests, marker) for marker in ("[[m]]", "[[n]]")] == [1, 1]
    assert conversation.prompts(requests) == ["hello [[m]]", "more [[n]]"]


def test_instructions_behind_the_newest_prompt_alone_make_no_new_conversation() -> None:
    requests = told(("hello [[m]]\n\nReply so.",), ("hello [[m]]", "more\n\nReply so."))
    assert conversation.count(requests, "[[m]]") == 1


def test_a_prompt_that_came_twice_counts_twice() -> None:
    assert conversation.count(told(("[[m]]",), ("[[m]]", "[[m]]")), "[[m]]") == 2


def test_a_new_conversation_counts_for_itself() -> None:
    assert conversation.count(told(("one", "[[m]]"), ("[[m]]",)), "[[m]]") == 2


def test_a_title_is_no_prompt() -> None:
    requests = told((api_chat.TITLE + "\n", "hello [[m]]"), ("hello [[m]]",))
    assert [request.main for request in requests] == [False, True]
    assert conversation.count(requests, "[[m]]") == 1


def test_what_is_handed_over_within_a_turn_is_the_prompt_that_it_wraps() -> None:
    wrapped = (
        "<system-reminder>\nThe user sent the following message:\n[[m]] go\n\nPlease address this message"
    )
    assert asked("first", wrapped).user_texts == (("first",), ("[[m]] go",))


def test_a_text_is_streamed_and_ends() -> None:
    events = chunks(api_chat.Answer(number=1, model="m"))
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in events) == "STUB-OK"
    assert [event["choices"][0]["finish_reason"] for event in events] == [None, None, "stop"]


def test_a_tool_is_called_with_its_arguments_as_text() -> None:
    answer = api_chat.Answer(number=1, model="m", use_tool=True)
    (call,) = answer.message()["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "bash"
    assert json.loads(call["function"]["arguments"])["command"] == "touch toolran"
    assert chunks(answer)[-1]["choices"][0]["finish_reason"] == "tool_calls"
