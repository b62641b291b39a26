"""The limits of conversations: a loop ends, a burst waits, and nothing else is touched."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nova_torch.values import HoldReason, State
from noval_d.delivery.gate import Hold, Refuse
from noval_d.talk.limits import MINUTE_MS, Facts, Limits, judge

NOW_MS = 1_700_000_000_000
times = st.lists(st.integers(NOW_MS - 3 * MINUTE_MS, NOW_MS + 3 * MINUTE_MS), max_size=50).map(sorted)
limits = st.builds(Limits, exchanges=st.integers(0, 60), per_minute=st.integers(0, 40))
facts = st.builds(Facts, exchanges=st.integers(0, 100), at_ms=times.map(tuple))


def said(known: Facts, allowed: Limits, now_ms: int = NOW_MS) -> Hold | Refuse | None:
    return judge(known, allowed, sender="alice", now_ms=now_ms)


@given(facts)
def test_without_limits_everything_goes_on(known: Facts) -> None:
    assert said(known, Limits(exchanges=0, per_minute=0)) is None


@given(facts, limits)
def test_a_conversation_ends_exactly_when_its_messages_are_used_up(known: Facts, allowed: Limits) -> None:
    verdict = said(known, allowed)
    over = bool(allowed.exchanges) and known.exchanges >= allowed.exchanges
    assert isinstance(verdict, Refuse) == over
    if isinstance(verdict, Refuse):
        assert verdict.state is State.FAILED
        assert "delivery.max_exchanges" in verdict.reason


@given(facts, limits)
def test_a_burst_waits_a_minute_at_most_and_then_goes_on(known: Facts, allowed: Limits) -> None:
    verdict = said(known, allowed)
    if not isinstance(verdict, Hold):
        return
    assert verdict.reason is HoldReason.RATE_LIMITED
    assert 0 < verdict.recheck_s <= 60
    later = [at for at in known.at_ms if at <= NOW_MS]
    if later == list(known.at_ms):  # no clock jumped: the time that was told is the right one
        before = said(known, allowed, NOW_MS + round(verdict.recheck_s * 1000) - 1)
        assert isinstance(before, Hold)
        assert said(known, allowed, NOW_MS + round(verdict.recheck_s * 1000)) is None


@given(facts, limits)
def test_no_minute_holds_more_than_the_rate(known: Facts, allowed: Limits) -> None:
    recent = [at for at in known.at_ms if abs(NOW_MS - at) < MINUTE_MS]
    if said(known, allowed) is None and allowed.per_minute:
        assert len(recent) < allowed.per_minute


def test_a_sender_who_keeps_to_the_rate_is_never_held() -> None:
    allowed = Limits(exchanges=0, per_minute=30)
    passed: list[int] = []
    for now_ms in range(NOW_MS, NOW_MS + 5 * MINUTE_MS, 2_000):
        assert said(Facts(exchanges=0, at_ms=tuple(passed)), allowed, now_ms) is None
        passed.append(now_ms)


def test_it_is_said_when_it_goes_on() -> None:
    verdict = said(Facts(exchanges=0, at_ms=(NOW_MS - 1000,)), Limits(exchanges=0, per_minute=1))
    assert isinstance(verdict, Hold)
    assert verdict.detail.startswith("alice has sent 1 messages within a minute (delivery.pair_rate")
    assert verdict.detail.endswith("goes on at 22:14:19 UTC")
