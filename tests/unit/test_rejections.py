"""What a rejection means to its sender, and what is said of a message that waits elsewhere."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nova_torch.codec import decode_signed_hop, encode_hop
from nova_torch.rejections import meant, rejection
from nova_torch.signing import Key, Keyring, Problem
from nova_torch.ulid import new_ulid
from nova_torch.values import Message, MessageId, NodeId, State
from noval_d.mailroom.waiting import hint

RING = Keyring((Key("new", b"\xab" * 32),))
MESSAGE = Message(id=MessageId(new_ulid()), sender="s", target="a", body="b", created_ms=1)
HOP = rejection(MESSAGE, b"mine", "it is not signed", NodeId("far"), 7)


def test_the_senders_own_bytes_are_over_and_say_the_cure() -> None:
    told = meant(HOP, State.QUEUED, b"mine", signs=False, owners=["near", "far"], here="near")
    assert told is not None
    assert (told.state, told.final, told.of) == (State.FAILED, True, "")
    assert "signing.key_file" in told.reason


def test_other_bytes_mean_nothing() -> None:
    assert meant(HOP, State.QUEUED, b"others", signs=False, owners=["far"], here="near") is None


@pytest.mark.parametrize("state", sorted(set(State) - {State.ACCEPTED, State.QUEUED}))
def test_what_is_further_on_is_not_taken_back(state: State) -> None:
    assert meant(HOP, state, b"mine", signs=False, owners=["far"], here="near") is None


def test_with_a_key_it_waits() -> None:
    told = meant(HOP, State.QUEUED, b"mine", signs=True, owners=["far"], here="near")
    assert told is not None
    assert (told.state, told.final, told.of) == (State.QUEUED, False, "")


def test_another_owner_may_have_typed_it() -> None:
    told = meant(HOP, State.QUEUED, b"mine", signs=False, owners=["near", "third", "far"], here="near")
    assert told is not None
    assert (told.state, told.final) == (State.UNCONFIRMED, True)


def test_a_rejection_is_signed_as_one_and_never_as_a_receipt() -> None:
    signature = RING.sign_receipt(HOP, "near")
    assert decode_signed_hop(encode_hop(HOP, signature)) == (HOP, signature)
    assert RING.check_receipt(HOP, signature, "near") is Problem.NONE
    assert RING.check_receipt(replace(HOP, of=""), signature, "near") is Problem.FORGED
    assert RING.check_receipt(replace(HOP, of="00"), signature, "near") is Problem.FORGED


@pytest.mark.parametrize("state", [State.ACCEPTED, State.QUEUED])
def test_why_the_broker_is_not_used_is_said_of_a_message_for_elsewhere(state: State) -> None:
    why = "nothing listens there."
    told = hint(state, owner="", here="near", silent_s=0.0, strict="", mute=False, broker=why)
    assert told.startswith(f"the broker is not used: {why}")
    assert not hint(State.HELD, owner="far", here="near", silent_s=9.0, strict="", mute=False, broker=why)


@pytest.mark.parametrize(
    ("state", "owner", "silent_s", "strict", "mute", "said"),
    [
        (State.QUEUED, "far", 90.0, "", False, "node far has it and has told nothing of it for 90s"),
        (State.QUEUED, "far", 1.0, "", False, ""),
        (State.QUEUED, "near", 90.0, "", False, ""),
        (State.HELD, "far", 90.0, "far", True, ""),
        (State.ACCEPTED, "near", 0.0, "", True, ""),
        (State.QUEUED, "far", 0.0, "far", False, "here is no key to sign with"),
        (State.ACCEPTED, "near", 0.0, "far", False, "here is no key to sign with"),
        (State.QUEUED, "far", 90.0, "", True, "node far signs nothing"),
    ],
)
def test_why_a_message_waits_is_said_as_far_as_it_is_known(
    state: State, owner: str, silent_s: float, strict: str, mute: bool, said: str
) -> None:
    told = hint(state, owner=owner, here="near", silent_s=silent_s, strict=strict, mute=mute)
    assert said in told
    assert bool(told) == bool(said)
