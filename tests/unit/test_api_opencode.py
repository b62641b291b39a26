"""What opencode's events and answers mean, and what is asked of it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from nova_torch.ulid import new_ulid
from noval_d.agents.reports import Meaning, Report
from noval_d.api import opencode
from noval_d.api.opencode import Conversation, Doings, Unreadable

ULID = "01KAYQ0000ABCDEFGHJKMNPQRS"
MODEL = {"id": "m", "providerID": "p"}


def event(kind: str, **properties: Any) -> bytes:
    return json.dumps({"id": "evt_1", "type": kind, "properties": properties}).encode()


def status(kind: str, session: str = "ses_1", **more: Any) -> bytes:
    return event("session.status", sessionID=session, status={"type": kind, **more})


def prompt(text: str, *, message: str = "msg_1", part: str = "prt_1", session: str = "ses_1") -> list[bytes]:
    return [
        event("message.updated", info={"id": message, "role": "user", "sessionID": session}),
        event(
            "message.part.updated",
            part={"id": part, "type": "text", "text": text, "messageID": message, "sessionID": session},
        ),
    ]


def told(doings: Doings, *events: bytes) -> list[Report]:
    return [report for one in events for report in doings.take(one)]


def meanings(doings: Doings, *events: bytes) -> list[Meaning]:
    return [report.meaning for report in told(doings, *events)]


def test_a_turn_begins_and_ends_once_however_often_that_is_told() -> None:
    turn = (status("busy"), status("busy"), status("idle"), event("session.idle", sessionID="ses_1"))
    assert meanings(Doings(), *turn) == [Meaning.PROMPT, Meaning.FINISHED]


def test_it_works_as_long_as_one_of_its_conversations_does() -> None:
    doings = Doings()
    assert meanings(doings, status("busy"), status("busy", "ses_2"), status("idle")) == [Meaning.PROMPT] * 2
    assert meanings(doings, status("idle", "ses_2")) == [Meaning.FINISHED]


def test_a_prompt_is_told_once_with_its_text_and_its_conversation() -> None:
    (report,) = told(Doings(), *prompt("hello"), *prompt("hello"))
    assert (report.meaning, report.prompt, report.session) == (Meaning.PROMPT, "hello", "ses_1")


def test_the_text_of_a_message_of_ours_proves_no_other_one() -> None:
    (report,) = told(Doings(), *prompt("hello", part=opencode.part_id(ULID)))
    assert (report.meaning, report.prompt) == (Meaning.PROMPT, "")


def test_what_an_answer_says_is_no_prompt() -> None:
    part = {"id": "prt_2", "type": "text", "text": "STUB-OK", "messageID": "msg_2", "sessionID": "ses_1"}
    assert told(Doings(), event("message.part.updated", part=part)) == []


def test_what_a_helper_of_it_is_asked_is_no_prompt() -> None:
    child = event("session.created", info={"id": "ses_2", "parentID": "ses_1"})
    assert told(Doings(), child, *prompt("explore", session="ses_2")) == []


def test_a_permission_is_told_with_what_is_asked_and_is_over_when_it_is_answered() -> None:
    doings = Doings()
    asked = event("permission.asked", id="per_1", sessionID="ses_1", permission="bash", patterns=["touch x"])
    replied = event("permission.replied", sessionID="ses_1", requestID="per_1", reply="once")
    assert meanings(doings, status("busy")) == [Meaning.PROMPT]
    (report,) = told(doings, asked)
    assert (report.meaning, report.detail) == (Meaning.PERMISSION, "bash: touch x")
    assert meanings(doings, replied, status("idle")) == [Meaning.PROMPT, Meaning.FINISHED]


def test_a_question_is_told_as_it_is_worded() -> None:
    asked = event("question.asked", id="que_1", sessionID="ses_1", questions=[{"question": "Which\none?"}])
    (report,) = told(Doings(), asked)
    assert (report.meaning, report.detail) == (Meaning.PERMISSION, "Which one?")


def test_of_two_permissions_the_other_is_still_asked_when_one_is_answered() -> None:
    doings = Doings()
    for name in ("a", "b"):
        told(doings, event("permission.asked", id=name, permission="bash", patterns=[name]))
    (report,) = told(doings, event("permission.replied", requestID="a"))
    assert (report.meaning, report.detail) == (Meaning.PERMISSION, "bash: b")


def test_a_compaction_begins_and_ends() -> None:
    doings = Doings()
    summary = {
        "id": "msg_2",
        "role": "assistant",
        "sessionID": "ses_1",
        "summary": True,
        "time": {"created": 1},
    }
    begins = meanings(doings, status("busy"), event("message.updated", info=summary))
    done = {**summary, "time": {"created": 1, "completed": 2}}
    ends = meanings(
        doings, event("message.updated", info=done), event("session.compacted", sessionID="ses_1")
    )
    assert (begins, ends) == ([Meaning.PROMPT, Meaning.COMPACTING], [Meaning.PROMPT])


def test_a_limit_is_told_until_the_model_answers_again() -> None:
    doings = Doings(limit=re.compile("(?i)rate limit"))
    step = event("message.part.updated", part={"type": "step-start", "id": "prt_9"})
    assert [r.limit for r in told(doings, status("busy"), status("retry", message="Rate limit  hit"))] == [
        "",
        "Rate limit hit",
    ]
    assert told(doings, status("retry", message="overloaded"), status("busy")) == []
    assert [report.limit for report in told(doings, step, step)] == [""]


@pytest.mark.parametrize(
    "data", [b"", b"nonsense", b"[]", b"7", b'{"type": 3}', b'{"type":"session.status"}', b"[" * 100_000]
)
def test_events_that_cannot_be_read_tell_nothing(data: bytes) -> None:
    assert Doings().take(data) == []


@pytest.mark.parametrize(
    ("states", "permissions", "meant"),
    [
        (b"{}", b"[]", [Meaning.FINISHED]),
        (b'{"ses_1":{"type":"busy"}}', b"[]", [Meaning.PROMPT]),
        (b'{"ses_1":{"type":"busy"}}', b'[{"id":"per_1"}]', [Meaning.PROMPT, Meaning.PERMISSION]),
    ],
)
def test_what_it_does_at_the_beginning(states: bytes, permissions: bytes, meant: list[Meaning]) -> None:
    assert [report.meaning for report in Doings().begin(states, permissions, b"[]")] == meant


def test_a_beginning_that_cannot_be_read_says_so() -> None:
    for states, permissions in ((b"[]", b"[]"), (b"{}", b"{}"), (b"<html>", b"[]")):
        with pytest.raises(Unreadable):
            Doings().begin(states, permissions, b"[]")


def test_a_messages_id_is_always_the_same_and_of_opencodes_form() -> None:
    assert opencode.message_id(ULID) == opencode.message_id(ULID)
    assert re.fullmatch(r"msg_[0-9a-f]{12}[0-9A-Z]{16}", opencode.message_id(ULID))
    assert len({opencode.message_id(new_ulid()) for _ in range(1000)}) == 1000


def test_a_messages_id_has_the_time_where_opencode_has_it() -> None:
    assert opencode.message_id(new_ulid(1795642589200)).startswith(
        "msg_214a38010000"
    )  # as it gave one itself


def sessions(*titles: str, **more: Any) -> bytes:
    made = [
        {"id": f"ses_{n}", "title": title, "agent": "plan", "model": MODEL} for n, title in enumerate(titles)
    ]
    return json.dumps([{**one, **more} for one in made]).encode()


def test_the_only_conversation_of_a_title_is_the_one_that_is_shown() -> None:
    found = opencode.shown(sessions("A talk", "A talk about more"), "A talk")
    assert found == Conversation(id="ses_0", title="A talk", agent="plan", model=MODEL)


def test_a_long_title_is_known_by_what_the_window_shows_of_it() -> None:
    long = "x" * 36 + "yz and more of it"
    found = opencode.shown(sessions(long), "x" * 36 + "y\u2026")
    assert found is not None
    assert found.title == long
    assert opencode.search_path("x" * 36 + "y\u2026").endswith("search=" + "x" * 36 + "y")


@pytest.mark.parametrize(
    "body",
    [
        sessions(),
        sessions("A talk", "A talk"),
        sessions("a talk"),
        sessions("A talk", agent=None),
        sessions("A talk", model=None),
        sessions("A talk", id="../x"),
    ],
)
def test_no_conversation_is_guessed(body: bytes) -> None:
    assert opencode.shown(body, "A talk") is None


def test_a_prompt_keeps_agent_and_model_of_its_conversation() -> None:
    talk = Conversation(id="ses_1", title="t", agent="plan", model={**MODEL, "variant": "high"})
    assert json.loads(opencode.prompt_body(ULID, "/help ✓", talk)) == {
        "messageID": opencode.message_id(ULID),
        "agent": "plan",
        "model": {"providerID": "p", "modelID": "m"},
        "variant": "high",
        "parts": [{"id": f"prt_nova{ULID}", "type": "text", "text": "/help ✓"}],
    }


def message(**info: Any) -> bytes:
    known = {"id": opencode.message_id(ULID), "role": "user", **info}
    part = {"id": opencode.part_id(ULID), "type": "text", "text": "hello"}
    return json.dumps({"info": known, "parts": [part]}).encode()


def test_a_message_is_proven_by_its_id_and_its_text() -> None:
    assert opencode.holds(message(), ULID, "hello")
    assert not opencode.holds(message(), ULID, "hell")


@pytest.mark.parametrize("body", [message(id="msg_other"), message(role="assistant"), b"[]", b"x", b"null"])
def test_another_answer_proves_nothing(body: bytes) -> None:
    with pytest.raises(Unreadable):
        opencode.holds(body, ULID, "hello")


def test_a_message_of_ours_waits_while_it_is_the_last_one() -> None:
    ours = json.loads(message())
    answer = {"info": {"id": "msg_8", "role": "assistant"}, "parts": [{"id": "prt_8", "text": "yes"}]}
    assert opencode.waiting(json.dumps([answer, ours]).encode()) == (ULID, "hello")
    assert opencode.waiting(json.dumps([ours, answer]).encode()) is None
    assert opencode.waiting(b"[]") is None


@pytest.mark.parametrize("spoilt", [{"id": "msg_typed1"}, {"id": None}])
def test_what_only_has_a_part_like_ours_does_not_wait(spoilt: dict[str, Any]) -> None:
    assert opencode.waiting(b"[" + message(**spoilt) + b"]") is None


@pytest.mark.parametrize(
    "body", [b"[null]", b"[{}]", b'[{"parts": 1}]', b'[{"parts": [1, {"id": "prt_nova"}]}]']
)
def test_a_last_message_that_makes_no_sense_does_not_wait(body: bytes) -> None:
    assert opencode.waiting(body) is None
