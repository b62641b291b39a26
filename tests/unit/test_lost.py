"""A text that never appeared is typed again only where a space, seen to work, says that it will never come."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_torch.values import AgentId, State
from noval_d.delivery.item import Item
from noval_d.delivery.lost import (
    GIVES_UP_S,
    RESTS_S,
    SHOWS_S,
    TOLD_S,
    Erase,
    Lost,
    Probe,
    Probing,
    Theirs,
    judge,
    overheard,
)
from noval_d.delivery.proof import has_piece
from noval_d.delivery.steps import (
    MAX_LOSSES,
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
from tests.unit.test_gate import message

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
FIRST = replace(EMPTY, composer="their first", column=13)
SECOND = replace(EMPTY, composer="their second", column=14)
THIRD = replace(EMPTY, composer="their third", column=13)
TOLD = replace(SECOND, told=("theirsecond",))
"""A box that is never seen empty: the text is missing, theirs comes, is told of, and more of theirs comes."""
OVERTAKEN = [(0.0, FIRST), (2.0, FIRST), (2.5, SECOND), (3.1, TOLD), (3.3, THIRD), (3.2 + TOLD_S, THIRD)]


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


def test_it_is_typed_again_a_few_times_and_no_more() -> None:
    assert play(LOST, Progress(pasted_at=0.0, losses=MAX_LOSSES - 1)) == [Probe(), Erase(), Again(lost=True)]
    assert play(LOST, Progress(pasted_at=0.0, losses=MAX_LOSSES)) == [UNCONFIRMED]


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


def test_a_text_of_theirs_that_came_later_and_was_told_of_says_it_too() -> None:
    assert play(OVERTAKEN) == [Again(lost=True)]
    assert play(OVERTAKEN, Progress(pasted_at=0.0, losses=MAX_LOSSES)) == [UNCONFIRMED]
    assert play(OVERTAKEN, rules=replace(RULES, retypes_lost=False)) == [UNCONFIRMED]


@pytest.mark.parametrize(
    "told",
    [(), ("theirfirst",), ("theirseconds",), ("theirthird",)],
    ids=["nothing", "what stood there before", "another text", "what came later"],
)
def test_nothing_else_that_is_told_says_it(told: tuple[str, ...]) -> None:
    assert play([(now, replace(look, told=told) if look is TOLD else look) for now, look in OVERTAKEN]) == []


def test_what_was_told_before_it_came_says_nothing() -> None:
    early = [(1.9, replace(FIRST, told=TOLD.told)), (2.4, replace(FIRST, told=TOLD.told))]
    script = [(now, SECOND if look is TOLD else look) for now, look in OVERTAKEN]
    assert play(sorted([*early, *script], key=lambda one: one[0])) == []


def test_theirs_says_it_in_a_turn_only_if_it_was_queued_behind_all_that_was() -> None:
    """An Enter right at the end of a turn overtakes the queue, and a hook tells of it first."""
    working = [(now, replace(look, idle=False, busy=True)) for now, look in OVERTAKEN]
    assert play(working) == []
    assert play([*working, (9.0, THIRD)]) == [Again(lost=True)]
    as_queued = [(now, replace(look, told=(), queued=look.told)) for now, look in working]
    assert play(as_queued) == [Again(lost=True)]


@pytest.mark.parametrize("doubt", [{"piece": True}, {"composer": None}, {"unread_bytes": 1}])
def test_theirs_says_it_only_with_nothing_of_ours_in_the_box(doubt: dict[str, object]) -> None:
    *before, (last, look) = OVERTAKEN
    assert play([*before, (last, replace(look, **doubt))]) == []  # type: ignore[arg-type]
    assert play([*before, (last, replace(look, **doubt)), (last + 1, look)]) == [Again(lost=True)]  # type: ignore[arg-type]


@pytest.mark.parametrize("doubt", [{"tells": False}, {"elsewhere": True}, {"column": None}])
@pytest.mark.parametrize("at", range(1, len(OVERTAKEN)))
def test_any_doubt_beside_theirs_leaves_it_unconfirmed(doubt: dict[str, bool], at: int) -> None:
    now, look = OVERTAKEN[at]
    assert play([*OVERTAKEN[:at], (now, replace(look, **doubt))])[-1] == UNCONFIRMED  # type: ignore[arg-type]


@pytest.mark.parametrize("at", range(1, len(OVERTAKEN)))
def test_a_text_that_shows_beside_theirs_is_not_lost(at: int) -> None:
    mixed = replace(HERE, mixed=True)
    later = [(OVERTAKEN[at][0] + after, mixed) for after in (0.0, 1.0, 2.0, 20.0)]
    assert play([*OVERTAKEN[:at], *later]) == []


def test_a_late_hook_of_what_went_in_before_theirs_is_waited_for() -> None:
    *before, (last, look) = OVERTAKEN
    early = 3.1 + TOLD_S - 0.01
    assert play([*before, (early, look)]) == []
    assert play([*before, (early, look), (last, replace(look, elsewhere=True))]) == [UNCONFIRMED]


def test_keys_without_end_put_off_neither_that_it_is_missed_nor_what_they_say() -> None:
    unread = [(n / 10 + 0.05, replace(FIRST, unread_bytes=1)) for n in range(100)]
    steps = play(sorted([*OVERTAKEN, *unread], key=lambda one: one[0]))
    assert steps == [Again(lost=True)]


def test_a_text_that_is_not_read_yet_is_not_missed() -> None:
    unread = [(float(n), replace(EMPTY, unread_bytes=1)) for n in range(50)]
    assert play([*unread, (50.0, EMPTY), (51.9, EMPTY)]) == []
    assert play([*unread, (50.0, EMPTY), (52.0, EMPTY)]) == [Probe()]


def test_a_text_behind_another_view_is_not_missed() -> None:
    away = [(0.1 + n, replace(EMPTY, composer=None)) for n in range(9)]
    assert play([(0.0, EMPTY), *away, (9.0, EMPTY), (10.9, EMPTY)]) == []
    assert play([(0.0, EMPTY), *away, (9.0, EMPTY), (11.0, EMPTY)]) == [Probe()]


@pytest.mark.parametrize(
    ("prompt", "others", "elsewhere"),
    [("their own words", ("theirownwords",), False), ("theirs, ours, all of it", (), True)],
)
def test_what_the_agent_queues_says_whether_it_has_a_piece_of_it(
    prompt: str, others: tuple[str, ...], elsewhere: bool
) -> None:
    body = "ours, all of it"
    item = Item(message=message(body=body), agent=AgentId("a"), arrival=1, typed=f"{body} ")
    item.heard_queued(prompt)
    assert item.elsewhere is elsewhere
    assert item.overheard() == ((), others)
    assert item.overheard() == ((), ())


def test_what_is_typed_by_hand_is_known_as_it_stood_there_in_the_end() -> None:
    text = "typed by hand, letter by letter"
    theirs = overheard(None, EMPTY, 0.0)
    for size in range(len(text)):
        theirs = overheard(theirs, replace(EMPTY, composer=text[: size + 1]), size / 10)
    theirs = overheard(theirs, replace(EMPTY, told=("typedbyhand,letterbyletter",)), 9.0)
    assert theirs.told_at == 9.0
    assert overheard(theirs, replace(EMPTY, told=("typedbyhand,letterbyletter",)), 10.0).told_at == 9.0


looks = st.builds(
    Look, here=st.just(False), composer=st.sampled_from(["", "text"]), dialog=st.just(False),
    column=st.none() | st.integers(1, 4), tells=st.booleans(), elsewhere=st.booleans(), idle=st.booleans(),
)  # fmt: skip
moments = st.none() | st.floats(0, 70)
probings = st.none() | st.builds(
    Probing, column=st.integers(1, 4), typed_at=st.floats(0, 70), seen_at=moments, erased_at=moments,
    clean_at=moments,
)  # fmt: skip


theirs = st.none() | st.builds(Theirs, shown=st.just("text"), told_at=moments, queued_at=moments)


@given(probing=probings, theirs=theirs, look=looks, now=st.floats(0, 70), missing_s=st.floats(0, 70))
def test_a_key_is_pressed_only_in_an_empty_box_and_a_space_is_all_that_is_taken_away(
    probing: Probing | None, theirs: Theirs | None, look: Look, now: float, missing_s: float
) -> None:
    _, found = judge(probing, theirs, look, now, missing_s)
    if isinstance(found, Lost):
        assert look.tells
        assert not look.elsewhere
        queued = theirs is not None and theirs.queued_at is not None and now - theirs.queued_at >= TOLD_S
        told = theirs is not None and theirs.told_at is not None and now - theirs.told_at >= TOLD_S
        assert queued or (look.idle and (told or look.composer == ""))
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
