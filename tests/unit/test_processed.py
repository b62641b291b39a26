from __future__ import annotations

import pytest

from nova_torch.values import MessageId
from noval_d.delivery.processed import SETTLED_S, Taken, Work, judge

TAKEN = Taken(message=MessageId("01J"), at=100.0)
LIMIT_S = 120.0


@pytest.mark.parametrize(
    "work",
    [
        Work(hook_at=100.0),
        Work(hook_at=150.0),
        Work(seen_at=100.5),
    ],
)
def test_a_hook_after_the_prompt_and_a_busy_screen_are_work(work: Work) -> None:
    assert judge(TAKEN, work, 300.0, LIMIT_S) is None


@pytest.mark.parametrize("work", [Work(), Work(hook_at=99.9), Work(seen_at=100.0), Work(seen_at=42.0)])
def test_what_was_before_the_prompt_is_no_work_on_it(work: Work) -> None:
    early = judge(TAKEN, work, 100.0 + LIMIT_S - 1, LIMIT_S)
    assert early is not None
    assert not early.warned
    late = judge(early, work, 100.0 + LIMIT_S, LIMIT_S)
    assert late is not None
    assert late.warned


def test_the_prompt_itself_in_the_transcript_is_no_work_and_what_comes_after_it_is() -> None:
    at_once = judge(TAKEN, Work(transcript_bytes=500), 100.1, LIMIT_S)
    assert at_once is not None
    assert at_once.transcript_bytes is None
    settled = judge(at_once, Work(transcript_bytes=800), 100.0 + SETTLED_S, LIMIT_S)
    assert settled is not None
    same = judge(settled, Work(transcript_bytes=800), 150.0, LIMIT_S)
    assert same is not None
    assert judge(same, Work(transcript_bytes=801), 160.0, LIMIT_S) is None


def test_a_transcript_that_went_away_says_nothing() -> None:
    settled = judge(TAKEN, Work(transcript_bytes=800), 110.0, LIMIT_S)
    assert settled is not None
    assert judge(settled, Work(), 120.0, LIMIT_S) is not None


def test_work_that_comes_after_the_warning_ends_it() -> None:
    late = judge(TAKEN, Work(), 300.0, LIMIT_S)
    assert late is not None
    assert judge(late, Work(seen_at=301.0), 301.0, LIMIT_S) is None
