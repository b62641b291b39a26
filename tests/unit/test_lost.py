"""A text that never appeared is typed again only where a space, seen to work, says that it will never come."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_torch.values import State
from noval_d.delivery.lost import GIVES_UP_S, RESTS_S, SHOWS_S, Erase, Probe, Probing, judge
from noval_d.delivery.proof import has_piece
from noval_d.delivery.steps import (
    NEVER_SEEN,
    Again,
    Done,
    Enter,
    Look,
    Progress,
    Rules,
    Space,
    Step,
    Wait,
    entered,
    erased,
    next_step,
    probed,
    spaced,
)

RULES = Rules(
    settle_s=0.1,
    enter_window_s=0.6,
    space_wait_s=0.08,
    landed_within_s=2.0,
    defers_dialogs=True,
    retypes_lost=True,
)
EMPTY = Look(here=False, composer="", dialog=False, column=2, tells=True, idle=True, hooked=True)
HERE = replace(EMPTY, here=True, composer="text", column=6)
BEHIND = replace(EMPTY, column=3)
DIALOG = replace(EMPTY, composer=None, dialog=True)
UNCONFIRMED = Done(State.UNCONFIRMED, NEVER_SEEN)

PROBED = [(0.0, EMPTY), (2.0, EMPTY), (2.1, BEHIND), (2.7, BEHIND)]
"""The text is missing, the space is typed, seen, and taken away."""
LOST = [*PROBED, (2.8, EMPTY), (3.4, EMPTY)]


def play(
    script: list[tuple[float, Look]], progress: Progress | None = None, rules: Rules = RULES
) -> list[Step]:
    """Return the steps other than Wait, as the looks of `script` come; each step asked for is done at once."""
    progress = progress or Progress(pasted_at=0.0)
    steps: list[Step] = []
    for now, look in script:
        progress, step = next_step(rules, progress, look, now)
        match step:
            case Enter():
                progress = entered(progress, now, busy=look.busy)
            case Space():
                progress = spaced(progress, now)
            case Probe():
                progress = probed(progress, look, now)
            case Erase():
                progress = erased(progress, now)
        if not isinstance(step, Wait):
            steps.append(step)
        if isinstance(step, Done | Again):
            break
    return steps


def test_what_a_space_has_overtaken_is_typed_again() -> None:
    assert play(LOST) == [Probe(), Erase(), Again(lost=True)]


def test_it_is_typed_again_once() -> None:
    assert play(LOST, Progress(pasted_at=0.0, retyped=True)) == [UNCONFIRMED]


def test_a_driver_that_does_not_say_so_gets_no_space() -> None:
    assert play(LOST, rules=replace(RULES, retypes_lost=False)) == [UNCONFIRMED]


def test_what_a_dead_daemon_pasted_is_never_typed_again() -> None:
    script = [(now + 100.0, look) for now, look in LOST] + [(120.0, EMPTY)]
    (step,) = play(script, Progress(pasted_at=100.0, calm=False, resumed=True))
    assert isinstance(step, Done)
    assert step.state is State.UNCONFIRMED


@pytest.mark.parametrize(
    "doubt",
    [{"tells": False}, {"elsewhere": True}, {"column": None}],
    ids=lambda doubt: next(iter(doubt)),
)
@pytest.mark.parametrize("at", range(1, len(LOST)))
def test_any_doubt_at_any_look_leaves_it_unconfirmed(doubt: dict[str, bool], at: int) -> None:
    now, look = LOST[at]
    assert play([*LOST[:at], (now, replace(look, **doubt))])[-1] == UNCONFIRMED  # type: ignore[arg-type]


@pytest.mark.parametrize("at", range(1, len(LOST)))
def test_a_text_that_shows_at_last_is_brought_to_its_enter(at: int) -> None:
    now = LOST[at][0]
    late = [(now + wait, HERE) for wait in (0.0, 0.12, 0.22)] + [(now + 0.3, EMPTY), (now + 0.5, EMPTY)]
    assert play([*LOST[:at], *late])[-3:] == [Space(), Enter(), Done(State.SUBMITTED)]


@pytest.mark.parametrize("at", range(1, len(LOST)))
def test_what_somebody_types_meanwhile_begins_it_anew(at: int) -> None:
    now = LOST[at][0]
    theirs = replace(EMPTY, composer="theirs", column=8)
    again = [(now + 1.0 + later, look) for later, look in LOST[1:]]
    steps = play([*LOST[:at], (now, theirs), *again])
    assert steps[-3:] == [Probe(), Erase(), Again(lost=True)]


def test_a_space_that_does_not_show_says_nothing() -> None:
    assert play([(0.0, EMPTY), (2.0, EMPTY), (2.1, EMPTY), (2.0 + SHOWS_S, EMPTY)]) == [Probe(), UNCONFIRMED]


def test_a_space_that_cannot_be_taken_away_says_nothing() -> None:
    steps = play([*PROBED, (2.8, BEHIND), (2.7 + SHOWS_S, BEHIND)])
    assert steps == [Probe(), Erase(), UNCONFIRMED]


def test_nothing_unread_is_overtaken() -> None:
    stuck = [(2.1 + n, replace(EMPTY, unread_bytes=1)) for n in range(20)]
    assert play([*PROBED[:2], *stuck]) == [Probe()]


def test_what_was_read_late_is_waited_for_from_then_on() -> None:
    stuck = [(2.1 + n / 10, replace(EMPTY, unread_bytes=1)) for n in range(50)]
    drawn = [(7.1, EMPTY), (7.2, BEHIND), (7.8, BEHIND)]
    assert play([*PROBED[:2], *stuck, *drawn]) == [Probe(), Erase()]
    unread = [(now + 10, replace(EMPTY, column=3, unread_bytes=1)) for now, _ in stuck]
    gone = [(17.1, BEHIND), (17.2, EMPTY), (17.8, EMPTY)]
    assert play([*PROBED[:2], *stuck, *drawn, *unread, *gone])[-1] == Again(lost=True)


def test_a_turn_is_waited_for_and_no_longer_than_that() -> None:
    working = replace(EMPTY, idle=False)
    script = [(0.0, EMPTY), (2.0, working), (30.0, working)]
    assert play(script) == []
    assert play([*script, (30.1, EMPTY)]) == [Probe()]
    assert play([*script, (GIVES_UP_S, working)]) == [UNCONFIRMED]
    ended = [*PROBED, (2.8, EMPTY), (3.4, working), (9.0, working), (9.1, EMPTY)]
    assert play(ended) == [Probe(), Erase(), Again(lost=True)]


def test_a_dialog_of_that_turn_has_not_swallowed_it() -> None:
    working = replace(EMPTY, idle=False)
    script = [(0.0, EMPTY), (2.0, working), (3.0, DIALOG), (3.1, DIALOG), (9.0, EMPTY)]
    assert play(script) == [Probe()]
    elsewhere = replace(EMPTY, elsewhere=True)
    assert play([*script[:-1], (9.0, elsewhere), (9.6, elsewhere)]) == [UNCONFIRMED]


looks = st.builds(
    Look, here=st.just(False), composer=st.sampled_from(["", "text"]), dialog=st.just(False),
    column=st.none() | st.integers(1, 4), tells=st.booleans(), elsewhere=st.booleans(), idle=st.booleans(),
)  # fmt: skip
moments = st.none() | st.floats(0, 70)
probings = st.none() | st.builds(
    Probing, column=st.integers(1, 4), typed_at=st.floats(0, 70), seen_at=moments, erased_at=moments,
    clean_at=moments,
)  # fmt: skip


@given(probing=probings, look=looks, now=st.floats(0, 70), missing_s=st.floats(0, 70))
def test_a_key_is_pressed_only_in_an_empty_box_and_a_space_is_all_that_is_taken_away(
    probing: Probing | None, look: Look, now: float, missing_s: float
) -> None:
    _, found = judge(probing, look, now, missing_s)
    if isinstance(found, Probe | Erase):
        assert look.composer == ""
        assert look.tells
        assert not look.elsewhere
    if isinstance(found, Erase):
        assert probing is not None
        assert probing.seen_at is not None
        assert now - probing.seen_at >= RESTS_S
        assert look.column == probing.column + 1


@pytest.mark.parametrize(
    ("prompt", "typed", "expected"),
    [
        ("theirs brief", "brief ", True),
        ("theirs, and the first half of o", "the first half of ours is here", True),
        ("half of ours is here", "the first half of ours is here", True),
        ("something else", "the first half of ours is here", False),
        ("", "ours", False),
        ("wrapped\n  as it\n was", "it was wrapped as it was typed", True),
        ("tail " + "z" * 40, "y" * 100_000 + "z" * 20, True),
    ],
)
def test_a_prompt_may_hold_a_piece_of_a_text(prompt: str, typed: str, expected: bool) -> None:
    assert has_piece(prompt, typed) is expected
