"""Whether and when an agent that ended is started again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_torch.values import AgentId
from noval_d.life.plan import Life, Phase, Plan, unpacked
from noval_d.life.policy import Again, Exit, GiveUp, Limits, Rest, Restart, after_exit

LIMITS = Limits(tries=3, window_s=60, first_s=1, most_s=5)
NOW = 1_000_000
FAILED, KILLED, WELL, UNKNOWN = Exit(code=1), Exit(signal=9), Exit(code=0), Exit()


@pytest.mark.parametrize(
    ("restart", "ended", "again"),
    [
        (Restart.ALWAYS, WELL, True),
        (Restart.ALWAYS, FAILED, True),
        (Restart.ON_FAILURE, WELL, False),
        (Restart.ON_FAILURE, FAILED, True),
        (Restart.ON_FAILURE, KILLED, True),
        (Restart.ON_FAILURE, UNKNOWN, True),
        (Restart.NEVER, WELL, False),
        (Restart.NEVER, KILLED, False),
    ],
)
def test_its_policy_says_whether_an_agent_comes_back(restart: Restart, ended: Exit, again: bool) -> None:
    decision = after_exit(restart, ended, (), NOW, 0.0, LIMITS)
    assert isinstance(decision, Again if again else Rest)


def test_each_pause_is_twice_the_one_before_up_to_a_limit() -> None:
    limits = Limits(tries=10, window_s=60, first_s=1, most_s=5)
    tries = [tuple(NOW - 1 - n for n in range(count)) for count in range(5)]
    pauses = [after_exit(Restart.ALWAYS, FAILED, known, NOW, 0.0, limits) for known in tries]
    assert pauses == [Again(1), Again(2), Again(4), Again(5), Again(5)]


@given(st.floats(0, 1))
def test_half_of_a_pause_is_left_to_chance(chance: float) -> None:
    decision = after_exit(Restart.ALWAYS, FAILED, (NOW - 1,), NOW, chance, LIMITS)
    assert isinstance(decision, Again)
    assert 1 <= decision.after_s <= 2


def test_a_crash_loop_is_given_up_with_the_reason() -> None:
    decision = after_exit(Restart.ALWAYS, FAILED, (NOW - 3, NOW - 2, NOW - 1), NOW, 0.0, LIMITS)
    assert decision == GiveUp("it ended 4 times within 60 s, the last time with exit code 1")


def test_starts_of_long_ago_do_not_count() -> None:
    old = (NOW - 60_000, NOW - 70_000, NOW - 80_000)
    assert after_exit(Restart.ALWAYS, FAILED, old, NOW, 0.0, LIMITS) == Again(1)


def test_a_clock_that_was_set_back_gives_nothing_up() -> None:
    future = (NOW + 5000, NOW + 6000, NOW + 7000)
    assert after_exit(Restart.ALWAYS, FAILED, future, NOW, 0.0, LIMITS) == Again(1)


@pytest.mark.parametrize(
    ("ended", "said"),
    [(FAILED, "exit code 1"), (KILLED, "signal 9"), (UNKNOWN, "its pane is gone"), (WELL, "exit code 0")],
)
def test_an_end_says_how_it_was(ended: Exit, said: str) -> None:
    assert str(ended) == said


def test_a_life_is_written_and_read_as_it_is_and_prints_no_secret() -> None:
    plan = Plan(command=("a", "$(b)"), cwd="/x", env={"KEY": "secret"}, prompt="private", allow=("trust",))
    life = Life(agent=AgentId("a-1"), plan=plan, phase=Phase.WAITING, tries_ms=(1, 2), token="t")
    assert unpacked(life.packed()) == life
    assert "secret" not in repr(life)
    assert "private" not in repr(life)
