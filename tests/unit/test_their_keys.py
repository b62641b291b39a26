"""Keys that somebody else has sent are waited for until they are drawn, and never for ever."""

from __future__ import annotations

from noval_d.agents.their_keys import DRAWS_S, FOR_EVER_S, TheirKeys


def test_a_count_that_stands_says_nothing() -> None:
    keys = TheirKeys().saw("7", 100.0).saw("7", 100.1)
    assert not keys.undrawn(100.1)


def test_a_count_that_changed_is_waited_for_a_moment() -> None:
    keys = TheirKeys().saw("", 90.0).saw("1", 100.0).saw("1", 100.0 + DRAWS_S / 2)
    assert keys.undrawn(100.0 + DRAWS_S / 2)
    assert not keys.undrawn(100.01 + DRAWS_S)


def test_keys_without_end_are_not_waited_for_and_after_a_pause_they_are_again() -> None:
    keys, now, number, waited = TheirKeys().saw("0", 0.0), 100.0, 0, 0
    while now < 100.0 + 2 * FOR_EVER_S:
        number, now = number + 1, now + DRAWS_S / 3
        keys = keys.saw(str(number), now)
        waited += keys.undrawn(now)
    assert not keys.undrawn(now)
    assert waited <= FOR_EVER_S / (DRAWS_S / 3) + 1
    later = now + 2 * DRAWS_S
    assert keys.saw(str(number + 1), later).undrawn(later)
