"""Dialects of foreign programs: whatever the bytes, a draft or a reason; and answers in the same dialect."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_torch.bridging import PRESETS, Rule
from nova_torch.communication.compose import compose
from nova_torch.errors import InvalidRequest
from nova_torch.ulid import is_ulid
from nova_torch.values import Hop, Kind, MessageId, NodeId, Priority, Receipt, State
from noval_d.bridges.address import (
    Station,
    digest,
    own_message_id,
    pattern_of,
    recipients,
    replies_to,
    sender_of,
    stream_message_id,
    streams_of,
    subject_of,
    taker,
)
from noval_d.bridges.boomerang import decode_task
from noval_d.bridges.decode import decode_bytes, decode_fields
from noval_d.bridges.dialect import dialects
from noval_d.bridges.draft import Draft, Ignored, Origin, Task
from noval_d.bridges.encode import Telling, encode
from noval_d.bridges.telling import due
from noval_d.delivery.template import from_agent, from_machine, is_agent
from tests.support.drafts import MOST, draft, fields

NAMES = sorted(dialects())
words = st.binary(max_size=60) | st.text(max_size=40).map(lambda text: text.encode(errors="replace"))
known = st.sampled_from(
    [b"payload", b"content", b"sender", b"type", b"priority", b"id", b"task", b"operation", b"title", b"data"]
)
json_like: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def becomes_a_message_or_a_reason(decoded: Task) -> None:
    """What a bridge does with a draft raises nothing but a refusal."""
    if not isinstance(decoded, Draft):
        return
    try:
        message = compose("a", decoded.body, now_ms=1, sender=sender_of("x", decoded.sender))
    except InvalidRequest:
        return
    assert message.sender.startswith("bridge:x:")
    msgpack.packb([decoded.sender, decoded.id, decoded.correlation, decoded.target])


@given(st.sampled_from(NAMES), st.lists(st.tuples(known | words, words), max_size=8))
def test_no_fields_of_a_stream_are_too_much(name: str, pairs: list[tuple[bytes, bytes]]) -> None:
    becomes_a_message_or_a_reason(decode_fields(dialects()[name], pairs, most_bytes=MOST))
    becomes_a_message_or_a_reason(decode_task(pairs, "1-1", most_bytes=MOST))


@given(st.sampled_from(NAMES), st.binary(max_size=400))
def test_no_bytes_of_a_channel_are_too_much(name: str, data: bytes) -> None:
    becomes_a_message_or_a_reason(decode_bytes(dialects()[name], data, most_bytes=MOST))


@given(st.sampled_from(NAMES), st.dictionaries(known.map(bytes.decode), json_like, max_size=6))
def test_no_json_and_no_msgpack_is_too_much(name: str, value: dict[str, Any]) -> None:
    text = json.dumps(value).encode()
    becomes_a_message_or_a_reason(decode_bytes(dialects()[name], text, most_bytes=MOST))
    becomes_a_message_or_a_reason(decode_fields(dialects()[name], [(b"data", text)], most_bytes=MOST))
    becomes_a_message_or_a_reason(decode_task([(b"data", text)], "1-1", most_bytes=MOST))
    try:
        packed = msgpack.packb(value)
    except OverflowError:
        return
    becomes_a_message_or_a_reason(decode_bytes(dialects()[name], packed, most_bytes=MOST))


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[" * 100_000, b"{" * 60_000, b'{"a":' * 20_000, b"\x91" * 30_000, b"\xff", b"1" * 60_000,
     b'{"payload": "\\ud800"}', b"\xc7\x08\xff" + b"\x00" * 8],
)  # fmt: skip
def test_what_breaks_parsers_is_refused_or_a_text(data: bytes) -> None:
    becomes_a_message_or_a_reason(decode_bytes(dialects()["torch"], data, most_bytes=1 << 20))


def test_every_part_of_a_message_is_kept() -> None:
    found = draft(
        decode_fields(
            dialects()["torch"],
            fields(id="7", sender="planner", target="bob", type="task", payload='{"text": "go"}',
                   correlation_id="c", priority="urgent", more="ignored"),
            most_bytes=MOST,
        )
    )  # fmt: skip
    assert found == Draft(
        body="go", sender="planner", target="bob", correlation="c", priority=Priority.URGENT, kind=Kind.TASK,
        id="7", asks=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("low", "low"),
        ("medium", "normal"),
        ("HIGH", "high"),
        ("critical", "urgent"),
        ("soon", "normal"),
        ("", "normal"),
    ],
)
def test_priorities_are_mapped(word: str, meant: str) -> None:
    found = draft(decode_fields(dialects()["dot"], fields(content="x", priority=word), most_bytes=MOST))
    assert found.priority.value == meant


@pytest.mark.parametrize(
    ("value", "body"),
    [
        ("plain words", "plain words"),
        ('"a JSON text"', "a JSON text"),
        ('"quoted" words', '"quoted" words'),
        ("[tag] words", "[tag] words"),
        ('{"text": "a", "empty": ""}', "a"),
        ('{"text": "a", "file": "x.py"}', 'a\n\n{\n "file": "x.py"\n}'),
        ('{"n": 1}', '{\n "n": 1\n}'),
    ],
)
def test_the_words_of_a_body_are_found(value: str, body: str) -> None:
    pairs = fields(payload=value, sender="x")
    assert draft(decode_fields(dialects()["torch"], pairs, most_bytes=MOST)).body == body


def test_what_says_something_wants_no_answer() -> None:
    for kind, asks in (("status", False), ("response", False), ("request", True), ("", True)):
        pairs = fields(payload="x", type=kind)
        assert draft(decode_fields(dialects()["torch"], pairs, most_bytes=MOST)).asks is asks


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("body", [None, "the answer"])
def test_what_we_write_is_read_by_us_and_ignored(name: str, body: str | None) -> None:
    origin = Origin(
        dialect=name, via="stream", bridge="k", source="s", entry="7", sender="x", correlation="c",
        replies="to.x",
    )  # fmt: skip
    telling = Telling(
        message=MessageId("01M"), key="replied", agent="bob", state="replied", body=body, at_ms=1_700_000_000_123
    )  # fmt: skip
    (out,) = encode(origin, telling)
    pairs = [(k.encode(), v.encode()) for k, v in {**out.fields, "nova_event": telling.event}.items()]
    assert isinstance(decode_fields(dialects()[name], pairs, most_bytes=MOST), Ignored)
    read = draft(decode_fields(dialects()[name], pairs[:-1], most_bytes=MOST))
    assert read.sender == "bob"
    assert read.body.startswith(body or "replied")
    assert read.correlation == "c" or name == "wake"


# -- who it is from and for --


@given(st.text(max_size=100))
def test_no_foreign_sender_is_an_agent_or_a_person(name: str) -> None:
    sender = sender_of("torch", name)
    assert not is_agent(sender)
    assert not sender.startswith("user:")
    message = compose("a", "x", now_ms=1, sender=sender)
    assert from_machine(message)
    assert not from_agent(message)
    assert " " not in replies_to("to.{sender}", name)


HERE = Station(name="here", agents={"bob": "dev", "al": "ops"}, bridges=frozenset({"stream:s.{agent}"}))
THERE = Station(name="there", agents={"zoe": "dev"}, bridges=frozenset({"stream:s.{agent}"}))
MUTE = Station(name="a-mute", agents={"max": "dev"})
RULE = Rule(dialect="torch", key="s.{agent}", targets=("*",))


def test_the_owner_of_an_agent_takes_what_is_for_it_and_the_first_bridge_for_the_others() -> None:
    nodes = (HERE, THERE, MUTE)
    takers = {agent: taker(agent, digest(RULE), nodes) for agent in ("bob", "zoe", "max", "nobody")}
    assert takers == {"bob": "here", "zoe": "there", "max": "here", "nobody": "here"}
    assert taker("bob", "stream:other", nodes) == ""
    assert streams_of(RULE, nodes, "here") == {"s.bob": "bob", "s.al": "al", "s.max": "max"}
    assert streams_of(RULE, nodes, "there") == {"s.zoe": "zoe"}


def test_targets_are_found_or_the_reason_is_said() -> None:
    nodes = (HERE, THERE)
    assert recipients(RULE, "bob", "zoe", nodes) == ["bob"]
    assert recipients(RULE, "bob", "all", nodes) == ["bob"]
    role = Rule(dialect="torch", key="r.{role}", targets=("b*", "z*"))
    assert recipients(role, "dev", "", nodes) == ["bob", "zoe"]
    assert recipients(Rule(dialect="torch", key="all", to="all"), "", "", nodes) == ["al", "bob", "zoe"]
    assert recipients(Rule(dialect="torch", key="k"), "", "al", nodes) == ["al"]
    for rule, subject, named in ((RULE, "x", ""), (Rule(dialect="dot", key="k"), "", ""), (role, "qa", "")):
        assert isinstance(recipients(rule, subject, named, nodes), str)
    assert isinstance(recipients(Rule(dialect="dot", key="k", targets=("b*",)), "", "al", nodes), str)


def test_a_channel_is_meant_by_one_rule() -> None:
    direct, role, everybody = PRESETS["torch"]
    assert (pattern_of(direct), pattern_of(everybody)) == ("nova.torch.agents.direct.*", None)
    assert subject_of(direct, "nova.torch.agents.direct.bob") == "bob"
    assert subject_of(direct, "nova.torch.agents.direct.b/b") is None
    assert subject_of(role, "nova.torch.agents.dev") == "dev"
    assert subject_of(everybody, "nova.torch.orchestrator") == ""


def test_the_id_of_an_entry_is_always_the_same_and_of_it_alone() -> None:
    one = stream_message_id("s", "1700000000000-0", b"c", "bob")
    assert is_ulid(one)
    assert one == stream_message_id("s", "1700000000000-0", b"c", "bob")
    others = [("t", "1700000000000-0", b"c", "bob"), ("s", "1700000000000-1", b"c", "bob"),
              ("s", "1700000000000-0", b"d", "bob"), ("s", "1700000000000-0", b"c", "al")]  # fmt: skip
    assert one not in {stream_message_id(*other) for other in others}
    assert is_ulid(stream_message_id("s", f"{2**64 - 1}-{2**64 - 1}", b"", "bob"))
    assert own_message_id("c", "\ud800", "bob", 1) != own_message_id("c", "x", "bob", 1)


# -- what is told --


def hop(state: State, *, final: bool = False) -> Hop:
    return Hop(message=MessageId("m"), at_ms=1, node=NodeId("n"), state=state, final=final)


def test_each_state_is_told_once_and_an_answer_always() -> None:
    origin = Origin(
        dialect="torch",
        via="stream",
        bridge="k",
        source="s",
        entry="7",
        sender="x",
        correlation="",
        replies="r",
    )
    hops = [hop(State.ACCEPTED), hop(State.HELD), hop(State.HELD), hop(State.ACKNOWLEDGED, final=True)]
    taken = Receipt(id=MessageId("m"), target="a", state=State.ACKNOWLEDGED, final=True)
    replied = Receipt(id=MessageId("m"), target="a", state=State.REPLIED, final=True)

    def keys(receipts: str, receipt: Receipt, *told: str, dialect: str = "torch") -> list[str]:
        asked = replace(origin, receipts=receipts, dialect=dialect)
        return [key for key, _, _ in due(asked, receipt, hops, told)]

    assert keys("final", taken) == ["acknowledged"]
    assert keys("final", taken, "acknowledged") == []
    assert keys("final", replied) == ["acknowledged", "replied"]
    assert keys("all", taken) == ["accepted", "held", "acknowledged"]
    assert keys("none", taken) == []
    assert keys("none", replied) == ["replied"]
    assert keys("final", taken, dialect="boomerang") == ["in_progress"]
    assert keys("final", replied, "in_progress", dialect="boomerang") == ["completed"]
