"""What is done about a schedule: each time once and none forgotten, whatever clocks, copies and nodes do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nova_torch.errors import InvalidRequest
from nova_torch.ulid import is_ulid
from noval_d.schedule.decide import BACK_MS, decide
from noval_d.schedule.schedule import Mark, Schedule, pack, unpack
from noval_d.schedule.times import after
from tests.support.schedules import BEGAN, cron, every, once

ON_TIME = 10_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


def told(schedule: Schedule, now_ms: int) -> tuple[int | None, int | None]:
    """What is sent and what is left out, counted from the beginning."""
    decision = decide(schedule, now_ms, on_time_ms=ON_TIME)
    fire, missed = decision.fire_ms, decision.missed_ms
    return None if fire is None else fire - BEGAN, None if missed is None else missed - BEGAN


def test_nothing_is_done_before_the_time_and_the_message_is_sent_at_it() -> None:
    schedule = once(BEGAN + MINUTE)
    assert told(schedule, BEGAN + MINUTE - 1) == (None, None)
    assert told(schedule, BEGAN + MINUTE) == (MINUTE, None)
    assert told(schedule, BEGAN + MINUTE + ON_TIME) == (MINUTE, None)


@pytest.mark.parametrize(
    ("late", "fire", "skip"),
    [
        (ON_TIME, (MINUTE, None), (MINUTE, None)),
        (ON_TIME + 1, (MINUTE, None), (None, MINUTE)),
        (HOUR, (MINUTE, None), (None, MINUTE)),
        (HOUR + 1, (None, MINUTE), (None, MINUTE)),
        (400 * DAY, (None, MINUTE), (None, MINUTE)),
    ],
)
def test_a_missed_time_is_sent_late_up_to_the_limit_or_left_out(late: int, fire: Any, skip: Any) -> None:
    schedule = once(BEGAN + MINUTE)
    assert told(schedule, BEGAN + MINUTE + late) == fire
    assert told(replace(schedule, missed="skip"), BEGAN + MINUTE + late) == skip


def test_of_several_missed_times_only_the_last_is_sent() -> None:
    schedule = every(MINUTE)
    assert told(schedule, BEGAN + 30 * MINUTE + 20_000) == (30 * MINUTE, MINUTE)
    assert told(replace(schedule, missed="skip"), BEGAN + 30 * MINUTE + 20_000) == (None, MINUTE)
    assert told(replace(schedule, missed="skip"), BEGAN + 30 * MINUTE + 5_000) == (30 * MINUTE, MINUTE)
    assert told(replace(schedule, late_ms=0), BEGAN + 30 * MINUTE + 20_000) == (None, MINUTE)


def test_years_of_missed_seconds_are_decided_at_once() -> None:
    assert told(every(1000), BEGAN + 1000 * DAY) == (1000 * DAY, 1000)


def test_a_week_of_missed_minutes_by_cron_is_decided_too() -> None:
    schedule = replace(cron("* * * * *", "Europe/Berlin", BEGAN), late_ms=7 * DAY)
    fire, missed = told(schedule, BEGAN + 30 * DAY)
    assert fire is not None
    assert missed is not None
    assert 30 * DAY - MINUTE < fire <= 30 * DAY


def test_what_is_over_is_never_sent() -> None:
    for why in ("finished", "missed", "failed", "cancelled"):
        assert decide(once(BEGAN).marked(ended=why), BEGAN + 5, on_time_ms=ON_TIME).nothing


def test_a_clock_that_is_set_back_a_little_sends_nothing_twice_and_one_set_back_far_goes_on() -> None:
    schedule = every(MINUTE).marked(done_ms=BEGAN + 100 * MINUTE)
    assert told(schedule, BEGAN + 50 * MINUTE) == (None, None)
    far = decide(schedule, BEGAN + 100 * MINUTE - BACK_MS - 1, on_time_ms=ON_TIME)
    assert far.back
    assert far.fire_ms is None
    after_it = schedule.marked(done_ms=far.done_ms, turn=1)
    assert told(after_it, BEGAN + 100 * MINUTE - BACK_MS + MINUTE)[0] is not None
    assert schedule.later(after_it.mark) == after_it  # the older mark, though further on, takes nothing back


def test_a_time_once_has_the_id_of_its_schedule_and_each_other_one_its_own() -> None:
    single, repeating = once(BEGAN), every(MINUTE)
    assert str(single.message_id(BEGAN)) == single.id
    ids = {repeating.message_id(BEGAN + n * MINUTE) for n in range(100)}
    assert len(ids) == 100
    assert all(is_ulid(each) for each in ids)
    assert repeating.message_id(BEGAN) == unpack(pack(repeating), Mark().packed()).message_id(BEGAN)


marks = st.builds(
    Mark,
    done_ms=st.integers(0, 10**14),
    turn=st.integers(0, 99_999),
    ended=st.sampled_from(["", "finished", "cancelled"]),
    fired=st.integers(0, 1000),
    last_ms=st.integers(0, 10**14),
    last_id=st.just("01JD3ZK8Q5W9X2Y4V6B8N0M1P3"),
    note=st.text(st.characters(codec="utf-8", exclude_characters="|"), max_size=20),
)


@settings(max_examples=60, deadline=None)
@given(marks)
def test_a_mark_is_read_as_it_was_written(mark: Mark) -> None:
    assert Mark.unpacked(mark.packed()) == mark


@settings(max_examples=60, deadline=None)
@given(st.lists(marks, min_size=1, max_size=6), st.randoms())
def test_copies_give_the_same_mark_in_whatever_order_they_are_put_together(
    found: list[Mark], rng: Any
) -> None:
    schedule = every(MINUTE)
    one = schedule
    for mark in found:
        one = one.later(mark)
    rng.shuffle(found)
    other = schedule
    for mark in found:
        other = other.later(mark)
    assert one.mark.packed() == other.mark.packed()
    assert bool(one.mark.ended) == any(mark.ended for mark in found)


@pytest.mark.parametrize("text", ["", "x", "|" * 5, "1" + "0" * 22 + "||0|0||", "0" + "9" * 22 + "||0|0||"])
def test_what_is_no_mark_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        Mark.unpacked(text)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_what_is_no_schedule_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequest):
        unpack(raw, Mark().packed())


schedules = st.one_of(
    st.integers(1, 30).map(lambda n: once(BEGAN + n * MINUTE)),
    st.sampled_from([7_000, MINUTE, 5 * MINUTE]).map(every),
    st.sampled_from(["*/3 * * * *", "10 * * * *"]).map(lambda text: cron(text, "America/New_York", BEGAN)),
)


@settings(max_examples=60, deadline=None)
@given(schedules, st.lists(st.integers(1, 20 * MINUTE), max_size=30), st.sampled_from(["fire", "skip"]))
def test_each_time_is_sent_at_most_once_and_none_is_forgotten(
    schedule: Schedule, steps: list[int], missed: str
) -> None:
    """A node looks at odd moments: what is due in between is sent, or said to be left out for a reason."""
    schedule = replace(schedule, missed=missed)
    now, sent = BEGAN, list[int]()
    for step in steps:
        before, now = now, now + step
        decision = decide(schedule, now, on_time_ms=ON_TIME)
        due, mark = [], before
        while not schedule.mark.ended and (
            following := after(schedule.when, max(mark, schedule.mark.done_ms))
        ):
            if following > now:
                break
            due.append(mark := following)
        allowed = [time for time in due if now - time <= (HOUR if missed == "fire" else ON_TIME)]
        assert decision.fire_ms == (allowed[-1] if allowed else None)
        left_out = [time for time in due if time != decision.fire_ms]
        assert decision.missed_ms == (left_out[0] if left_out else None)
        if decision.fire_ms is not None:
            sent.append(decision.fire_ms)
        over = schedule.when.once and not decision.nothing
        schedule = schedule.marked(done_ms=decision.done_ms, ended="over" if over else "")
    assert sent == sorted(set(sent))


@settings(max_examples=60, deadline=None)
@given(
    schedules,
    st.lists(
        st.tuples(
            st.sampled_from(["tick", "die", "roll_back", "owner", "meet"]), st.integers(1, 10 * MINUTE)
        ),
        max_size=40,
    ),
)
def test_two_nodes_and_a_broker_that_forget_send_one_time_under_one_id(
    schedule: Schedule, moves: list[tuple[str, int]]
) -> None:
    """Copies at two nodes and in the broker; any of them may fall back to what it was at the beginning.

    Whoever sends a time sends it under the same id, so it is delivered once; no other time has that id.
    """
    copies = {"one": schedule, "two": schedule, "broker": schedule}
    owner, now = "one", BEGAN
    delivered: dict[str, int] = {}
    for move, step in moves:
        match move:
            case "tick":
                now += step
                mine = copies[owner] = copies[owner].later(copies["broker"].mark)
                decision = decide(mine, now, on_time_ms=ON_TIME)
                if decision.fire_ms is not None:
                    due = delivered.setdefault(mine.message_id(decision.fire_ms), decision.fire_ms)
                    assert due == decision.fire_ms
                over = mine.when.once and not decision.nothing
                copies[owner] = mine.marked(done_ms=decision.done_ms, ended="over" if over else "")
            case "meet":
                copies["broker"] = copies["broker"].later(copies[owner].mark)
            case "die":
                copies[owner] = schedule
            case "roll_back":
                copies["broker"] = schedule
            case _:
                owner = "two" if owner == "one" else "one"
    assert len(set(delivered.values())) == len(delivered)
