"""What is asked and told through the broker is read back, and rubbish is refused; histories are put together."""

from __future__ import annotations

import msgpack
import pytest

from nova_torch.asks import (
    Ask,
    News,
    Told,
    pack_ask,
    pack_news,
    pack_told,
    read_ask,
    read_news,
    read_told,
    seal,
    unseal,
)
from nova_torch.errors import InvalidRequest
from nova_torch.history import MessageRecord, merged
from nova_torch.values import State
from noval_d.fleet.programs import within

WRONG: list[object] = [7, [], {}, [1, 2], [1, 2, 3, 4], ["a"] * 4, None]
RUBBISH = [bytes(msgpack.packb(value)) for value in WRONG]


def test_what_is_packed_is_read_back() -> None:
    ask = Ask(what="history", asker="lib-01", at_ms=7, details={"limit": 3})
    assert read_ask(pack_ask(ask)) == ask
    for told in (Told(steps=[{"step": 1}]), Told(steps=[], over=True, error={"code": "conflict"})):
        assert read_told(pack_told(told)) == told
    for news in (
        News(node="n", run=1, number=2, event={"event": "x"}),
        News(node="n", run=1, number=3, event=None),
    ):
        assert read_news(pack_news(news)) == news
    assert unseal(seal(b"packed", "one:ab")) == (b"packed", "one:ab")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xc1",
        b"\xff" * 9,
        *RUBBISH,
    ],
)
def test_rubbish_is_refused_as_such(raw: bytes) -> None:
    for read in (unseal, read_ask, read_told, read_news):
        with pytest.raises(InvalidRequest):
            read(raw)
    with pytest.raises(InvalidRequest):
        read_told(msgpack.packb({"steps": [1], "over": True}))
    with pytest.raises(InvalidRequest):
        read_told(msgpack.packb({"steps": [], "error": "text"}))


def row(number: int, state: State = State.SUBMITTED, body: str | None = "text") -> MessageRecord:
    return MessageRecord(
        id=f"{number:026}", sender="user:ann", target="a", agent="a", state=state, reason="", kind="message",
        priority="normal", correlation_id="", reply_to="", created_ms=number, body=body,
    )  # fmt: skip


def test_of_one_message_the_one_who_knows_most_is_right_and_the_newest_are_kept() -> None:
    queued, done = row(1, State.QUEUED), row(1, State.ACKNOWLEDGED, None)
    for told in ([queued, done, row(2), row(3)], [row(3), done, row(2), queued]):
        found = merged(told, 3)
        assert [(one.created_ms, one.state, one.body) for one in found] == [
            (1, "acknowledged", "text"),
            (2, "submitted", "text"),
            (3, "submitted", "text"),
        ]
        assert [one.created_ms for one in merged(told, 2)] == [2, 3]
    assert merged([row(1, State.FAILED), row(1, State.HELD)], 9)[0].state == "failed"
    for state in State:  # every state has its place
        assert merged([row(1, state), row(1, State.REPLIED)], 9)[0].state == "replied"


def test_the_bodies_of_the_newest_are_kept_as_long_as_they_fit() -> None:
    rows = [row(n, body="x" * 40) for n in range(4)]
    assert [one.body is not None for one in within(rows, 100)] == [False, False, True, True]
    assert within(rows, 160) == rows
