"""What one sender may have open and send, and when it may go on."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_torch.errors import LimitReached, from_wire
from nova_torch.sections import LimitsSection
from nova_torch.ulid import new_ulid
from nova_torch.values import AgentId, Hop, Message, MessageId, NodeId, State
from noval_d.mailroom.quota import SENDERS, Quota, Windows

A, B = AgentId("a"), AgentId("b")


class Place:
    def __init__(self, **limits: int) -> None:
        self.now = 1000.0
        self.section = LimitsSection(**{"sender_open": 0, **limits})
        self.kept: dict[MessageId, Message] = {}
        self.quota = Quota(lambda: self.section, lambda: self.now, self.kept.get)

    def message(self, sender: str = "ann") -> Message:
        made = Message(id=MessageId(new_ulid()), sender=sender, target="a", body="b", created_ms=1)
        self.kept[made.id] = made
        return made

    def send(self, sender: str = "ann", agent: AgentId = A) -> Message:
        made = self.message(sender)
        self.quota.take(made, agent)
        return made


def hop(message: Message, state: State, *, final: bool) -> Hop:
    return Hop(message=message.id, at_ms=1, node=NodeId("n"), state=state, final=final)


def test_a_sender_has_so_many_open_and_each_verdict_makes_room() -> None:
    place = Place(sender_open=2)
    first, _ = place.send(), place.send(agent=B)
    with pytest.raises(LimitReached, match="ann has 2 messages without a verdict"):
        place.send()
    place.send("bob")
    place.quota.heard(hop(first, State.HELD, final=False), A)
    with pytest.raises(LimitReached):
        place.send()
    place.quota.heard(hop(first, State.SUBMITTED, final=True), A)
    place.send()


def test_a_pair_has_a_limit_of_its_own() -> None:
    place = Place(pair_open=1)
    place.send()
    with pytest.raises(LimitReached, match="ann has 1 messages for a without"):
        place.send()
    place.send(agent=B)


def test_the_rate_is_that_of_any_minute_and_the_error_says_when_it_goes_on() -> None:
    place = Place(sender_per_minute=2)
    place.send()
    place.now += 20
    place.send()
    with pytest.raises(LimitReached, match="Try again in 40 s"):
        place.send()
    place.now += 40
    place.send()
    with pytest.raises(LimitReached, match="Try again in 20 s"):
        place.send()


def test_what_was_refused_or_not_accepted_does_not_count() -> None:
    place = Place(sender_open=1)
    first = place.send()
    with pytest.raises(LimitReached):
        place.send()
    place.quota.give_back(first.id)
    place.quota.give_back(first.id)
    place.send()


def test_what_is_ordered_again_counts_again() -> None:
    place = Place(sender_open=1)
    first = place.send()
    place.quota.heard(hop(first, State.FAILED, final=True), A)
    place.quota.heard(hop(first, State.QUEUED, final=False), A)
    with pytest.raises(LimitReached):
        place.send()
    gone = place.message()
    del place.kept[gone.id]
    place.quota.heard(hop(gone, State.QUEUED, final=False), A)  # a late receipt of one that is final
    place.quota.heard(hop(first, State.SUBMITTED, final=True), A)
    place.send()


def test_what_was_open_before_the_start_counts() -> None:
    place = Place(sender_open=1)
    place.quota.load([(place.message(), A)])
    with pytest.raises(LimitReached):
        place.send()


def test_from_elsewhere_too_fast_is_held_and_counts_once() -> None:
    place = Place(sender_per_minute=1)
    first, second = place.message(), place.message()
    assert place.quota.hold(first) is None
    assert place.quota.hold(first) is None
    hold = place.quota.hold(second)
    assert hold is not None
    assert hold.recheck_s == 60
    assert place.quota.hold(place.message("bob")) is None
    place.now += 60
    assert place.quota.hold(second) is None


def test_from_elsewhere_too_many_in_hand_are_not_taken() -> None:
    place = Place(pair_open=2)
    mine = [place.message(), place.message("bob")]
    assert place.quota.crowd(place.message(), A, mine) == ""
    mine.append(place.message())
    assert "2 messages of ann wait for a already" in place.quota.crowd(place.message(), A, mine)
    place.section = replace(place.section, pair_open=0)
    assert place.quota.crowd(place.message(), A, mine) == ""


@given(
    st.lists(st.tuples(st.sampled_from(["ann", "bob"]), st.sampled_from([A, B]), st.booleans()), max_size=40)
)
def test_the_count_is_that_of_what_is_open(steps: list[tuple[str, AgentId, bool]]) -> None:
    place = Place(sender_open=5, pair_open=3)
    open_ones: list[tuple[Message, AgentId]] = []
    for sender, agent, end in steps:
        if end and open_ones:
            message, at = open_ones.pop(0)
            place.quota.heard(hop(message, State.SUBMITTED, final=True), at)
            continue
        senders = Counter(m.sender for m, _ in open_ones)
        pairs = Counter((m.sender, a) for m, a in open_ones)
        if senders[sender] < 5 and pairs[sender, agent] < 3:
            open_ones.append((place.send(sender, agent), agent))
        else:
            with pytest.raises(LimitReached):
                place.send(sender, agent)
    for message, at in open_ones:
        place.quota.heard(hop(message, State.FAILED, final=True), at)
    assert repr(place.quota) == "<Quota open=0 senders=0>"


def test_silent_senders_are_forgotten() -> None:
    now = 0.0
    windows = Windows(lambda: now)
    for number in range(SENDERS):
        windows.count(str(number), MessageId("x"))
    now = 61.0
    windows.count("one more", MessageId("x"))
    assert windows.wait_s("one more", 1) == 60
    assert windows.wait_s("5", 1) == 0
    assert len(windows._of) == 1


def test_the_error_crosses_the_socket() -> None:
    assert isinstance(from_wire(LimitReached("a.", "b.").to_wire()), LimitReached)
