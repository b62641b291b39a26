"""What is done with a message that an agent's API may have, by what the agent answers. Its answers are forced."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from nova_torch.ulid import new_ulid
from nova_torch.values import AgentId, Message, MessageId, State
from noval_d.api.http import Answer, ApiFailed
from noval_d.api.opencode import Conversation, message_id, part_id
from noval_d.delivery import poster
from noval_d.delivery.item import Item
from noval_d.delivery.outcome import Postponed, Verdict
from noval_d.delivery.poster import FORGOTTEN_S, STALE_MS, Aim, Last, Poster
from noval_d.mailroom.ledger import Phase
from noval_d.tmux.front import Front

NOW_MS = 1_764_000_000_000
TALK = Conversation(id="ses_1", title="A talk", agent="build", model={"id": "m", "providerID": "p"})
SESSION = json.dumps({"id": "ses_1", "title": "A talk", "agent": "build", "model": TALK.model}).encode()


class Api:
    """An endpoint that answers as it is told; `asked` are the requests."""

    name = "1.1"
    in_front = True

    def __init__(self, answer: Callable[[str, str], Answer]) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def is_of(self, _front: Front | None) -> bool:
        return self.in_front

    async def ask(self, method: str, path: str, _body: bytes = b"", *, within_s: float = 5.0) -> Answer:
        assert within_s > 0
        self.asked.append(f"{method} {path}")
        return self.answer(method, path)

    async def get(self, path: str) -> bytes:
        return (await self.ask("GET", path)).body


class Desk:
    """Notes what is written down of a message."""

    def __init__(self) -> None:
        self.untyped_count = 0

    async def untyped(self, _item: Item) -> None:
        self.untyped_count += 1

    async def tell(self, *_: Any) -> None:
        pass


class Scene:
    """A poster whose agent has that API."""

    def __init__(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.desk, self.api = Desk(), api
        facts = SimpleNamespace(title="OC | A talk", pid=1)
        agent: Any = SimpleNamespace(
            id="a",
            api=api,
            facts=facts,
            present=True,
            working=False,
            asking_since=None,
            clock=lambda: self.now,
            clock_ms=lambda: NOW_MS,
        )
        desk: Any = self.desk
        self.poster = Poster(agent, desk=desk, may=lambda _item: True)
        monkeypatch.setattr(poster, "_front", lambda _agent: None)


def sent(process: str) -> Item:
    """Return a message that may have been handed to that process."""
    message = Message(id=MessageId(new_ulid()), sender="user:a", target="a", body="hello", created_ms=0)
    return Item(
        message=message, agent=AgentId("a"), arrival=1, phase=Phase.TYPING, pane=f"api:{process}/ses_1"
    )


def unknown(method: str, path: str) -> Answer:
    """Answer that the conversation is there and the message is not."""
    assert method == "GET"
    return Answer(404, b"{}") if "/message/" in path else Answer(200, SESSION)


def this_process() -> str:
    with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
        return f"{os.getpid()}.{file.read().rpartition(')')[2].split()[19]}"


def test_what_a_process_may_take_that_is_not_in_front_any_more_goes_no_other_road_while_it_lives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene, item = Scene(Api(unknown), monkeypatch), sent(this_process())
    assert isinstance(asyncio.run(scene.poster.recover(item)), Postponed)
    assert scene.desk.untyped_count == 0
    scene.now += FORGOTTEN_S + 1
    outcome = asyncio.run(scene.poster.recover(item))
    assert isinstance(outcome, Verdict)
    assert outcome.state is State.UNCONFIRMED


def test_what_a_process_was_sent_that_has_ended_is_sent_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, item = Scene(Api(unknown), monkeypatch), sent(f"{os.getpid()}.1")
    assert asyncio.run(scene.poster.recover(item)) == Postponed(0.0)
    assert scene.desk.untyped_count == 1


def test_an_agent_that_leaves_the_front_while_its_message_is_asked_for_keeps_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answer(method: str, path: str) -> Answer:
        if "/message/" not in path:
            api.in_front = False  # the last answer before it is sent again
        return unknown(method, path)

    api = Api(answer)
    scene, item = Scene(api, monkeypatch), sent("1.1")
    assert isinstance(asyncio.run(scene.poster.recover(item)), Postponed)
    assert scene.desk.untyped_count == 0
    assert not any(asked.startswith("POST") for asked in api.asked)


def test_what_waits_behind_a_broken_turn_is_asked_for_until_that_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ulid, posts = MessageId(new_ulid()), 0

    def answer(method: str, _path: str) -> Answer:
        nonlocal posts
        if method == "GET":
            return Answer(200, newest(ulid))
        posts += 1
        if posts == 1:
            raise ApiFailed("no answer within 10 s")
        return Answer(204, b"")

    scene = Scene(Api(answer), monkeypatch)
    shows(scene, TALK, monkeypatch)
    scene.poster._last = Last(ulid, "ses_1")
    for _ in range(3):
        asyncio.run(scene.poster.rests())
    assert posts == 2


def newest(ulid: str) -> bytes:
    """Return the answer that a message of ours is the last one of its conversation."""
    part = {"id": part_id(ulid), "type": "text", "text": "hello"}
    return json.dumps([{"info": {"id": message_id(ulid), "role": "user"}, "parts": [part]}]).encode()


def shows(scene: Scene, conversation: Conversation | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Say what the pane shows from now on."""
    endpoint: Any = scene.api

    async def aim(_title: str) -> Aim | None:
        return None if conversation is None else Aim(endpoint=endpoint, conversation=conversation)

    monkeypatch.setattr(scene.poster, "_aim", aim)


@pytest.mark.parametrize(("age_ms", "begun"), [(60_000, True), (STALE_MS, False)])
def test_what_a_daemon_before_this_one_handed_over_and_waits_is_begun_once_unless_it_is_old(
    age_ms: int, begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ulid = new_ulid(NOW_MS - age_ms)
    scene = Scene(
        Api(lambda method, _path: Answer(200, newest(ulid)) if method == "GET" else Answer(204, b"")),
        monkeypatch,
    )
    shows(scene, None, monkeypatch)
    asyncio.run(scene.poster.rests())  # the pane does not show it yet
    assert not scene.api.asked
    shows(scene, TALK, monkeypatch)
    for _ in range(3):
        asyncio.run(scene.poster.rests())
    asked = ["GET /session/ses_1/message?limit=1"]
    assert scene.api.asked == asked + ["POST /session/ses_1/prompt_async"] * begun
