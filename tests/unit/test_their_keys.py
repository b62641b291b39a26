"""Keys that somebody else has sent are waited for until they are drawn, and never for ever."""

from __future__ import annotations

import pytest

from noval_d.agents.their_keys import DRAWS_S, FOR_EVER_S, SLOW_S, TheirKeys

HERE, MOVED = (2, 5), (17, 5)


def test_a_count_that_stands_says_nothing() -> None:
    keys = TheirKeys().saw("7", HERE, 100.0).saw("7", MOVED, 100.1)
    assert not keys.undrawn(100.1)


def test_keys_that_are_drawn_are_waited_for_a_moment() -> None:
    keys = TheirKeys().saw("", HERE, 90.0).saw("1", MOVED, 100.0).saw("1", MOVED, 100.0 + DRAWS_S / 2)
    assert keys.undrawn(100.0 + DRAWS_S / 2)
    assert not keys.undrawn(100.01 + DRAWS_S)


def test_keys_that_have_not_moved_the_cursor_are_waited_for_longer() -> None:
    keys = TheirKeys().saw("", HERE, 90.0).saw("1", HERE, 100.0).saw("1", HERE, 100.01 + DRAWS_S)
    assert keys.undrawn(100.01 + DRAWS_S)
    assert not keys.undrawn(100.01 + SLOW_S)
    keys = keys.saw("1", MOVED, 100.02 + DRAWS_S)
    assert not keys.undrawn(100.02 + DRAWS_S)
    assert not keys.saw("1", HERE, 100.03 + DRAWS_S).undrawn(100.03 + DRAWS_S)


def test_what_earlier_keys_have_drawn_says_nothing_of_later_ones() -> None:
    keys = TheirKeys().saw("", HERE, 90.0).saw("1", MOVED, 100.0).saw("2", MOVED, 100.1)
    assert keys.undrawn(100.2 + DRAWS_S)


def test_more_keys_behind_undrawn_ones_are_waited_for_anew() -> None:
    keys = TheirKeys().saw("", HERE, 90.0).saw("1", HERE, 100.0).saw("2", HERE, 100.5)
    assert keys.undrawn(100.4 + SLOW_S)


@pytest.mark.parametrize(("cursor", "pause_s"), [(MOVED, DRAWS_S / 3), (HERE, SLOW_S / 2)])
def test_keys_without_end_are_not_waited_for_and_after_a_pause_they_are_again(
    cursor: tuple[int, int], pause_s: float
) -> None:
    keys, now, number, waited = TheirKeys().saw("0", HERE, 0.0), 100.0, 0, 0
    while now < 100.0 + 2 * FOR_EVER_S:
        number, now = number + 1, now + pause_s
        keys = keys.saw(str(number), cursor, now)
        waited += keys.undrawn(now)
    assert not keys.undrawn(now)
    assert waited <= FOR_EVER_S / pause_s + 1
    later = now + 2 * SLOW_S
    assert keys.saw(str(number + 1), cursor, later).undrawn(later)
