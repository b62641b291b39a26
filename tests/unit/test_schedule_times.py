"""When a schedule is due: clocks that change, leap days, ends of months, and what is no time at all."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nova_torch.errors import InvalidRequest
from noval_d.schedule.times import Kind, When, after, explained, latest, read_at, read_cron, shown

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


def ms(text: str, tz: str = BERLIN, *, second: bool = False) -> int:
    """A local time in milliseconds; of two the first, or the `second`."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(tz), fold=int(second))
    return round(moment.timestamp() * 1000)


def cron(text: str, tz: str = BERLIN) -> When:
    return When(kind=Kind.CRON, at_ms=0, cron=text, tz=tz)


def due(when: When, start: str, count: int, **more: bool) -> list[str]:
    """The next times after a local one, with their offsets."""
    mark, found = ms(start, when.tz, **more), []
    for _ in range(count):
        following = after(when, mark)
        assert following is not None
        assert following > mark
        mark = following
        found.append(datetime.fromtimestamp(mark / 1000, ZoneInfo(when.tz)).isoformat())
    return found


# -- clocks that change --


@pytest.mark.parametrize(
    ("tz", "expression", "start", "times"),
    [
        (BERLIN, "30 2 * * *", "2027-03-27T12:00", ["2027-03-28T03:00:00+02:00", "2027-03-29T02:30:00+02:00"]),
        (BERLIN, "15,45 2 * * *", "2027-03-27T12:00", ["2027-03-28T03:00:00+02:00", "2027-03-29T02:15:00+02:00"]),
        (BERLIN, "30 2 * * *", "2026-10-24T12:00", ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]),
        (NEW_YORK, "30 2 * * *", "2027-03-13T12:00", ["2027-03-14T03:00:00-04:00", "2027-03-15T02:30:00-04:00"]),
        (NEW_YORK, "30 1 * * *", "2026-10-31T12:00", ["2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"]),
        (NEW_YORK, "0 9 * * *", "2027-03-13T08:00", ["2027-03-13T09:00:00-05:00", "2027-03-14T09:00:00-04:00"]),
    ],
)  # fmt: skip
def test_a_time_of_day_comes_once_a_day_whatever_the_clocks_do(
    tz: str, expression: str, start: str, times: list[str]
) -> None:
    assert due(cron(expression, tz), start, len(times)) == times


def test_what_is_due_every_half_hour_follows_real_time_through_both_changes() -> None:
    spring, autumn = ms("2027-03-28T00:30"), ms("2026-10-25T00:30")
    for start in (spring, autumn):
        mark = start
        for _ in range(12):
            following = after(cron("*/30 * * * *"), mark)
            assert following == mark + 1_800_000
            mark = following


def test_within_the_hour_that_comes_twice_no_time_of_the_past_is_due() -> None:
    start = {"start": "2026-10-25T02:15", "count": 1, "second": True}
    assert due(cron("30 2 * * *"), **start) == ["2026-10-26T02:30:00+01:00"]  # type: ignore[arg-type]


@settings(deadline=None)
@given(
    st.sampled_from([BERLIN, NEW_YORK, "Australia/Lord_Howe", "UTC", "Asia/Kolkata"]),
    st.sampled_from(["30 2 * * *", "*/7 * * * *", "0 */5 * * *", "5 1-3 * * *", "0 0 1 * *", "0 12 29 2 *"]),
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)),  # noqa: DTZ001 - made aware below
    st.integers(0, 59_999),
)
def test_the_next_time_is_always_later_and_the_latest_is_the_last_of_them(
    tz: str, expression: str, start: datetime, millis: int
) -> None:
    when = cron(expression, tz)
    begin = mark = round(start.replace(tzinfo=UTC).timestamp() * 1000) + millis
    times = []
    for _ in range(5):
        following = after(when, mark)
        assert following is not None
        times.append(mark := following)
    assert times == sorted(set(times))
    assert times[0] > begin
    for one, other in pairwise(times):
        assert latest(when, begin, one) == one
        assert latest(when, begin, other - 1) == one
    assert latest(when, begin, times[0] - 1) is None


@pytest.mark.parametrize(
    ("word", "first"),
    [
        ("@hourly", "2026-01-01T01:00:00+01:00"),
        ("@daily", "2026-01-02T00:00:00+01:00"),
        ("@MIDNIGHT", "2026-01-02T00:00:00+01:00"),
        ("@weekly", "2026-01-04T00:00:00+01:00"),
        ("@monthly", "2026-02-01T00:00:00+01:00"),
        ("@yearly", "2027-01-01T00:00:00+01:00"),
        ("@annually", "2027-01-01T00:00:00+01:00"),
    ],
)
def test_the_short_words_of_cron_are_known(word: str, first: str) -> None:
    assert due(read_cron(word, BERLIN, ms("2026-01-01T00:00")), "2026-01-01T00:00", 1) == [first]


@pytest.mark.parametrize(("word", "cure"), [("@dayly", "@daily"), ("@reboot", "@hourly, @daily")])
def test_other_short_words_are_refused_with_those_that_there_are(word: str, cure: str) -> None:
    with pytest.raises(InvalidRequest, match=cure):
        read_cron(word, "UTC", 0)


# -- days that are rare --


def test_a_leap_day_comes_every_four_years_and_the_last_of_a_month_is_its_last() -> None:
    assert due(cron("0 12 29 2 *"), "2026-01-01T00:00", 2) == [
        "2028-02-29T12:00:00+01:00",
        "2032-02-29T12:00:00+01:00",
    ]
    days = due(cron("0 0 L * *", "UTC"), "2028-01-01T00:00", 4)
    assert [day[:10] for day in days] == ["2028-01-31", "2028-02-29", "2028-03-31", "2028-04-30"]
    days = due(cron("0 0 31 * *", "UTC"), "2027-01-01T00:00", 3)
    assert [day[:10] for day in days] == ["2027-01-31", "2027-03-31", "2027-05-31"]


# -- once, and so far apart --


def test_a_single_time_is_due_once() -> None:
    when = When(kind=Kind.AT, at_ms=1000)
    assert (after(when, 0), after(when, 1000), latest(when, 0, 999)) == (1000, None, None)
    assert latest(when, 0, 5000) == 1000


@settings(deadline=None)
@given(st.integers(1000, 10**9), st.integers(0, 10**12), st.integers(0, 10**12))
def test_periods_are_counted_from_the_first_and_never_drift(every: int, start: int, later: int) -> None:
    when = When(kind=Kind.EVERY, at_ms=start, every_ms=every)
    following = after(when, start + later)
    assert following is not None
    assert (following - start) % every == 0
    assert start + later < following <= start + later + every
    assert latest(when, start + later, following) == following
    assert latest(when, start + later, following - 1) is None


# -- what people write --


def test_a_time_of_day_is_the_next_one() -> None:
    now = ms("2026-11-25T22:00")
    assert read_at("23:15", BERLIN, now) == ms("2026-11-25T23:15")
    assert read_at("9:00", BERLIN, now) == ms("2026-11-26T09:00")
    assert read_at("22:00", BERLIN, now) == ms("2026-11-26T22:00")
    assert read_at("22:00:30", BERLIN, now) == ms("2026-11-25T22:00:30")
    assert read_at("22:00", BERLIN, ms("2026-10-24T22:00")) == ms("2026-10-25T22:00")  # a day of 25 hours


def test_a_date_is_meant_in_the_zone_unless_it_says_its_own() -> None:
    now = ms("2026-11-25T22:00")
    assert read_at("2026-12-01 09:00", NEW_YORK, now) == ms("2026-12-01T09:00", NEW_YORK)
    assert read_at("2026-12-01T09:00+05:30", NEW_YORK, now) == ms("2026-12-01T09:00+05:30")
    assert read_at("2026-12-01T09:00Z", NEW_YORK, now) == ms("2026-12-01T09:00+00:00")


def test_of_a_time_that_comes_twice_the_first_is_meant() -> None:
    now = ms("2026-10-24T12:00")
    assert read_at("2026-10-25 02:30", BERLIN, now) == ms("2026-10-25T02:30+02:00")


@pytest.mark.parametrize(
    ("text", "tz", "sentence"),
    [
        ("2027-03-28 02:30", BERLIN, "does not exist in Europe/Berlin on that day.*After that it is 03:30"),
        ("2027-03-14 02:01", NEW_YORK, "does not exist"),
        ("2026-11-25 21:59", BERLIN, "is past"),
        ("2026-12-01", BERLIN, "a day without a time"),
        ("25:00", BERLIN, "is not a time"),
        ("tomorrow", BERLIN, "is not a time"),
        ("", BERLIN, "is not a time"),
        ("9" * 500, BERLIN, "is not a time"),
        ("0001-01-01T00:00+14:00", BERLIN, "is not a time|is past"),
        ("9999-12-31T23:59-14:00", BERLIN, "is not a time"),
        ("09:00\x1b[2J", BERLIN, "is not a time"),
        ("09:00", "Europe/Berln", "Did you mean Europe/Berlin"),
        ("09:00", "europe/berlin", "Did you mean Europe/Berlin"),
        ("09:00", "../../etc/passwd", "there is no time zone"),
        ("09:00", "", "there is no time zone"),
        ("09:00", "Europe", "there is no time zone"),
    ],
)  # fmt: skip
def test_what_is_no_time_is_said_in_a_sentence(text: str, tz: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_at(text, tz, ms("2026-11-25T22:00"))
    assert refused.match(sentence)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("61 * * * *", "bad minute"),
        ("* * * *", "does not have 5 fields"),
        ("* * * * * *", "does not have 5 fields"),
        ("0 0 30 2 *", "bad day-of-month"),
        ("0 0 * * 8", "bad day-of-week"),
        ("*/0 * * * *", "bad minute"),
        ("0 0 * 2 MON#6", "bad day-of-week"),
        ("a" * 10_000 + " * * * *", "does not have 5 fields"),
    ],
)
def test_a_wrong_cron_expression_is_refused_with_the_reason(text: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        read_cron(text, "UTC", 0)


def test_a_cron_expression_is_explained() -> None:
    assert explained(read_cron("0 9 * * MON-FRI", BERLIN, 0)) == "At 09:00 on Monday through Friday"


def test_a_time_is_shown_in_its_zone() -> None:
    at = ms("2026-12-01T09:00")
    assert shown(at, BERLIN) == "2026-12-01 09:00:00 CET"
    assert shown(at, NEW_YORK) == "2026-12-01 03:00:00 EST"
