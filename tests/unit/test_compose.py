"""What cannot be a message is refused by name; times, ids and durations are read strictly."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_torch.communication.compose import compose
from nova_torch.errors import InvalidRequest
from nova_torch.ulid import is_ulid, new_ulid


@pytest.mark.parametrize(
    "options",
    [
        {"target": ""}, {"target": "a\nb"}, {"target": "x" * 257}, {"message_id": "01J"},
        {"message_id": "u" * 26}, {"ttl_s": 0}, {"ttl_s": -1}, {"ttl_s": float("nan")},
        {"ttl_s": float("inf")}, {"priority": "highest"}, {"kind": "spam"}, {"form": "cooked"}, {"body": ""},
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_a_message_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        compose(**{"target": "a", "body": "b", "now_ms": 0, **options})
    assert caught.value.hint


def test_the_defaults_are_those_of_an_ordinary_message() -> None:
    made = compose("a", "b", now_ms=5, ttl_s=1.5)
    assert (made.target, made.body, made.created_ms, made.expires_ms) == ("a", "b", 5, 1505)
    assert is_ulid(made.id)
    assert compose("a", "b", now_ms=5).expires_ms is None


@given(st.text())
def test_any_text_is_a_message_or_is_refused(body: str) -> None:
    try:
        made = compose("a", body, now_ms=0)
    except InvalidRequest:
        return
    assert made.body == body


def test_ids_are_in_the_order_of_their_time() -> None:
    assert new_ulid(1) < new_ulid(2) < new_ulid(2**47)
    assert is_ulid(new_ulid())
    assert not is_ulid(new_ulid().lower())
    assert not is_ulid("8" + "0" * 25)
