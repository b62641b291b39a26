"""Envelopes: whole there and back, and nothing but NovaError for anything else."""

from __future__ import annotations

import contextlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_torch.codec import decode_hop, decode_message, encode_hop, encode_message
from nova_torch.errors import InvalidRequest
from nova_torch.ulid import new_ulid
from nova_torch.values import Hop, Kind, Message, MessageId, NodeId, Priority, State

texts = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.integers(0, 2**48)
ids = st.builds(new_ulid).map(MessageId)
forms = st.dictionaries(texts.filter(lambda key: key != "form"), texts, max_size=3)
messages = st.builds(
    Message, id=ids, sender=texts, target=texts, body=texts, created_ms=numbers,
    priority=st.sampled_from(Priority), kind=st.sampled_from(Kind), correlation_id=texts, reply_to=texts,
    expires_ms=st.none() | numbers, headers=forms, schema=st.just(1),
)  # fmt: skip
hops = st.builds(
    Hop, message=ids, at_ms=numbers, node=texts.map(NodeId), state=st.sampled_from(State),
    reason=texts, final=st.booleans(),
)  # fmt: skip
WHOLE = Message(id=MessageId("01ARZ3NDEKTSV4RRFFQ69G5FAV"), sender="a", target="b", body="c", created_ms=1)


@given(messages)
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


@given(hops)
def test_a_receipt_comes_back_as_it_was(hop: Hop) -> None:
    assert decode_hop(encode_hop(hop)) == hop


@given(st.binary())
def test_bytes_that_are_no_envelope_are_refused(raw: bytes) -> None:
    for decode in (decode_message, decode_hop):
        with contextlib.suppress(InvalidRequest):
            decode(raw)


@pytest.mark.parametrize("name", sorted(msgpack.unpackb(encode_message(WHOLE))))
@pytest.mark.parametrize("value", [7.5, ["x"], True], ids=repr)
def test_a_field_of_the_wrong_type_is_refused(name: str, value: object) -> None:
    data = {**msgpack.unpackb(encode_message(WHOLE)), name: value}
    with pytest.raises(InvalidRequest):
        decode_message(msgpack.packb(data))


def test_a_newer_schema_is_refused_and_an_unknown_field_is_not() -> None:
    data = msgpack.unpackb(encode_message(WHOLE))
    assert decode_message(msgpack.packb({**data, "new": 1})) == WHOLE
    with pytest.raises(InvalidRequest, match="schema"):
        decode_message(msgpack.packb({**data, "schema": 2}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "x ; kill-server"),
        ("created_ms", -1),
        ("created_ms", 2**53),
        ("expires_ms", 2**63),
        ("headers", {"form": "weird"}),
    ],
)
def test_an_id_a_time_or_a_form_that_is_none_is_refused(name: str, value: object) -> None:
    with pytest.raises(InvalidRequest):
        decode_message(msgpack.packb({**msgpack.unpackb(encode_message(WHOLE)), name: value}))


@pytest.mark.parametrize(("name", "value"), [("message", "../x"), ("at_ms", 2**53), ("at_ms", -1)])
def test_a_receipt_with_an_id_or_a_time_that_is_none_is_refused(name: str, value: object) -> None:
    whole = Hop(message=WHOLE.id, at_ms=1, node=NodeId("n"), state=State.HELD)
    with pytest.raises(InvalidRequest):
        decode_hop(msgpack.packb({**msgpack.unpackb(encode_hop(whole)), name: value}))
