"""Signatures: what is covered, which keys count, what a key file may say."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nova_torch.codec import decode_message, decode_signed, decode_signed_hop, encode_hop, encode_message
from nova_torch.config import load
from nova_torch.errors import ConfigInvalid
from nova_torch.secret_files import read_keyring, readable_by
from nova_torch.sections import SigningSection
from nova_torch.signing import Key, Keyring, Problem, read_keys
from nova_torch.ulid import new_ulid
from nova_torch.values import AgentId, Hop, Kind, Message, MessageId, NodeId, Priority, State
from noval_d.mailroom.seals import Seals
from noval_d.schedule.copies import readable, sealed
from noval_d.schedule.schedule import Schedule, ScheduleId
from noval_d.schedule.times import Kind as When_
from noval_d.schedule.times import When

OLD, NEW = Key("old", b"o" * 32), Key("new", b"n" * 32)
RING = Keyring((NEW, OLD))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def ulid(now: int = 5) -> MessageId:
    return MessageId(new_ulid(now))


messages = st.builds(
    Message,
    id=st.just(ulid()),
    sender=texts,
    target=texts,
    body=texts,
    created_ms=st.integers(0, 1 << 40),
    priority=st.sampled_from(Priority),
    kind=st.sampled_from(Kind),
    correlation_id=texts,
    reply_to=texts,
    expires_ms=st.none() | st.integers(0, 1 << 40),
    headers=st.dictionaries(texts, texts, max_size=3).map(
        lambda more: {**more, "agent": "a", "form": "auto"}
    ),
)


@given(messages)
def test_what_was_signed_is_recognized_after_its_journey(message: Message) -> None:
    read, signature = decode_signed(encode_message(message, RING.sign_message(message)))
    assert read == message
    assert RING.check_message(read, signature, "a") is Problem.NONE
    assert Keyring((OLD, NEW)).check_message(read, signature, "a") is Problem.NONE  # rotated


@given(messages, messages)
def test_no_other_message_has_the_same_signature(one: Message, other: Message) -> None:
    assume(one != other)
    assert RING.check_message(other, RING.sign_message(one), "a") is Problem.FORGED


@given(messages, st.data())
def test_each_field_that_decides_anything_is_covered(message: Message, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([field.name for field in fields(Message)]))
    value: Any = {
        "id": ulid(9),
        "priority": next(p for p in Priority if p is not message.priority),
        "kind": next(k for k in Kind if k is not message.kind),
        "created_ms": message.created_ms + 1,
        "expires_ms": (message.expires_ms or 0) + 1,
        "headers": {**message.headers, "form": "command"},
        "schema": message.schema + 1,
    }.get(name, f"{getattr(message, name)}x")
    altered = replace(message, **{name: value})
    assert RING.check_message(altered, RING.sign_message(message), "a") is Problem.FORGED


def test_a_message_in_another_mailbox_is_misplaced() -> None:
    message = Message(id=ulid(), sender="s", target="a", body="b", created_ms=1, headers={"agent": "a"})
    signature = RING.sign_message(message)
    assert RING.check_message(message, signature, "b") is Problem.MISPLACED
    bare = replace(message, headers={})
    assert RING.check_message(bare, RING.sign_message(bare), "a") is Problem.MISPLACED


def test_a_signature_of_another_purpose_or_place_or_key_is_none() -> None:
    hop = Hop(message=ulid(), at_ms=1, node=NodeId("n"), state=State.SUBMITTED, final=True)
    signature = RING.sign_receipt(hop, "here")
    assert RING.check_receipt(hop, signature, "here") is Problem.NONE
    assert RING.check_receipt(hop, signature, "there") is Problem.FORGED
    assert RING.check_receipt(replace(hop, state=State.FAILED), signature, "here") is Problem.FORGED
    assert RING.check(signature, "mark", ["here"]) is Problem.FORGED
    assert RING.check_receipt(hop, "", "here") is Problem.UNSIGNED
    assert RING.check_receipt(hop, "other:00", "here") is Problem.UNKNOWN_KEY
    assert RING.check_receipt(hop, "new:\xe9", "here") is Problem.FORGED
    assert Keyring().check_receipt(hop, signature, "here") is Problem.UNKNOWN_KEY


def test_what_a_node_without_signatures_reads_is_the_same() -> None:
    message = Message(id=ulid(), sender="s", target="a", body="b", created_ms=1, headers={"agent": "a"})
    raw = encode_message(message, RING.sign_message(message))
    assert decode_message(raw) == message
    assert encode_message(message, Keyring().sign_message(message)) == encode_message(message)
    fields_of = msgpack.unpackb(raw)
    fields_of["sig"] = 7
    assert decode_signed(msgpack.packb(fields_of))[1] == ""
    hop = Hop(message=ulid(), at_ms=1, node=NodeId("n"), state=State.SUBMITTED)
    assert decode_signed_hop(encode_hop(hop))[1] == ""


def seals(mode: str, ring: Keyring = RING, **more: Any) -> Seals:
    return Seals(
        NodeId("n"),
        SigningSection(mode=mode, **more),
        ring,
        clock_ms=lambda: 1_000_000,
        publish=lambda event: None,
        rejected=lambda *_, **__: None,
    )


def schedule(**more: Any) -> Schedule:
    return Schedule(
        **{
            "id": ScheduleId(ulid()), "agent": AgentId("a"), "target": "a", "sender": "s", "body": "b",
            "when": When(kind=When_.AT, at_ms=5, tz="UTC"), "origin": NodeId("n"), "answers": "@n",
            "created_ms": 1, "missed": "fire", "late_ms": 5, **more,
        }
    )  # fmt: skip


@pytest.mark.parametrize("ended", ["", "cancelled"])
def test_a_schedule_and_its_mark_are_signed_apart(ended: str) -> None:
    mine = schedule().marked(ended=ended, note="by|somebody")
    kept = sealed(mine, seals("require"))
    (read,) = readable([kept], seals("require"))
    assert read.mark == replace(mine.mark, note="by/somebody")
    assert read.body == ("" if ended else "b")
    assert readable([sealed(mine, seals("off", Keyring()))], seals("require")) == []
    other = sealed(schedule(id=ScheduleId(ulid(9))), seals("require"))
    assert readable([replace(kept, asked=other.asked)], seals("require")) == []
    assert readable([replace(kept, mark=other.mark)], seals("require")) == []
    assert len(readable([replace(kept, mark=other.mark)], seals("warn"))) == 1


def test_of_two_marks_the_later_is_the_greater_text_signed_or_not() -> None:
    early, late = schedule().marked(done_ms=5), schedule().marked(done_ms=6)
    for one in (seals("off"), seals("off", Keyring())):
        for other in (seals("off"), seals("off", Keyring())):
            assert sealed(early, one).mark < sealed(late, other).mark


@pytest.mark.parametrize(
    ("age_s", "why"),
    [(0, ""), (59, ""), (61, "signing.max_age_s is 60"), (-9, ""), (-11, "the clocks differ")],
)
def test_a_message_may_be_neither_too_old_nor_of_the_future(age_s: int, why: str) -> None:
    message = Message(id=ulid(), sender="s", target="a", body="b", created_ms=1_000_000 - age_s * 1000)
    said = seals("require", max_age_s=60, max_skew_s=10).out_of_time(message)
    assert why in said
    assert bool(said) == bool(why)
    assert seals("warn", max_age_s=60, max_skew_s=10).out_of_time(message) == ""


# -- key files --


def key_file(path: Path, text: str, mode: int = 0o600) -> SigningSection:
    path.write_text(text)
    path.chmod(mode)
    return SigningSection(mode="require", key_file=str(path))


def test_a_key_file_has_a_key_a_line_and_the_first_one_signs(tmp_path: Path) -> None:
    text = f"# fleet\nk2 {'ab' * 32}  # new\n\nk1 {'cd' * 40}\n"
    ring = read_keyring(key_file(tmp_path / "keys", text))
    assert ring.keys == (Key("k2", b"\xab" * 32), Key("k1", b"\xcd" * 40))
    assert repr(ring) == "Keyring(keys=(<Key k2>, <Key k1>))"
    found = read_keyring(SigningSection(), {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert not found
    (tmp_path / "keys").rename(tmp_path / "fleet-keys")
    assert read_keyring(SigningSection(), {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == ring


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        ("", 0o600, "has no key"),
        ("k1 xyz", 0o600, "line 1 of the key file .* is no key"),
        ("\nk1", 0o600, "line 2 .* is no key"),
        ("k:1 " + "ab" * 32, 0o600, "has no name of a key"),
        ("k1 " + "ab" * 31, 0o600, "shorter than 32 bytes"),
        ("k1 " + "ab" * 32 + "\nk1 " + "cd" * 32, 0o600, "is twice"),
        ("k1 " + "ab" * 32, 0o644, "open to others .mode 644.*chmod 600"),
        ("k1 " + "ab" * 32, 0o620, "open to others"),
    ],
)
def test_a_key_file_that_cannot_be_used_is_refused_without_its_text(
    tmp_path: Path, text: str, mode: int, why: str
) -> None:
    with pytest.raises(ConfigInvalid, match=why) as caught:
        read_keyring(key_file(tmp_path / "keys", text, mode))
    assert "ab" * 31 not in str(caught.value)
    assert "xyz" not in str(caught.value)


def test_a_mode_that_needs_keys_has_keys(tmp_path: Path) -> None:
    assert not read_keyring(SigningSection(), {})
    with pytest.raises(ConfigInvalid, match=r"signing.mode is require, and there is no key"):
        read_keyring(SigningSection(mode="require"), {})
    with pytest.raises(ConfigInvalid, match="cannot be read: No such file"):
        read_keyring(SigningSection(key_file=str(tmp_path / "none")))
    with pytest.raises(ConfigInvalid, match="It is off, warn or require"):
        load(None, {"NOVA_SIGNING_MODE": "on", "HOME": os.fspath(tmp_path)})
    assert read_keys(["k1 " + "ab" * 32], "x").keys[0].id == "k1"


@pytest.mark.parametrize(
    ("mode", "who"),
    [(0o600, ""), (0o400, ""), (0o640, "its group"), (0o644, "everybody"), (0o604, "everybody")],
)
def test_who_else_can_read_a_file_of_secrets(tmp_path: Path, mode: int, who: str) -> None:
    secret = tmp_path / "password"
    secret.touch(mode)
    secret.chmod(mode)
    assert readable_by(str(secret), {}) == who
    assert readable_by(str(secret), {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == ""
    assert readable_by(str(tmp_path / "none"), {}) == ""
