"""Our text is taken out from beside somebody else's only where the keys leave theirs as it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nova_torch.values import AgentId, State
from noval_d.agents.sight import Sight
from noval_d.delivery.back import MAX_CHARS, RESTS_S, SHOWS_S, TELLS_S, Back, Taking, plan
from noval_d.delivery.item import Item
from noval_d.delivery.proof import PIECE_CHARS, collapsed
from noval_d.delivery.steps import (
    MIXED_GONE,
    TAKEN_UNSEEN,
    VANISHED_S,
    Again,
    Done,
    Enter,
    Look,
    Progress,
    Space,
    Step,
    TakeBack,
    Wait,
    next_step,
    rules_of,
)
from noval_d.mailroom.ledger import Phase
from tests.support.screens import CLAUDE, DRIVERS
from tests.unit.test_gate import message

OURS = "one of our own messages, sent with proof "
TWO = "[nova 01ABC from x; answer: novactl reply 01ABC]\nthe body – “of it” – über zwei Zeilen "


def drawn(text: str, columns: int = 60) -> tuple[str, int]:
    """Return what the box shows of `text`, blanks at the ends of rows cut off, and the cursor's column."""
    rows = [
        line[at : at + columns] for line in text.split("\n") for at in range(0, max(len(line), 1), columns)
    ]
    return "\n".join(row.rstrip() for row in rows).strip("\n \u00a0"), CLAUDE.indent + len(rows[-1])


def planned(box: str, typed: str, *, columns: int = 60) -> Back | None:
    composer, column = drawn(box, columns)
    assert CLAUDE.marker is not None
    return plan(CLAUDE, Sight(composer=composer, pasted=bool(CLAUDE.marker.search(composer))), typed, column)


def pressed(box: str, keys: str, marker: str = "") -> str:
    """Return what a box holds after `keys`, the cursor behind the text before; a marker is one letter."""
    text = box.replace(marker, "\0") if marker else box
    at = len(text)
    for key in keys.split():
        match key:
            case "Home" | "End":  # there are more of them than rows
                at = 0 if key == "Home" else len(text)
            case "DC":
                text = text[:at] + text[at + 1 :]
            case "BSpace":
                text, at = text[: max(at - 1, 0)] + text[at:], max(at - 1, 0)
    return text.replace("\0", marker) if marker else text


@pytest.mark.parametrize("ours", [OURS, TWO, "word " * 60, "a\n\nb, with an empty line "])
@pytest.mark.parametrize("theirs", ["theirs", "th\neirs", "漢字 👍🏽 with pictures", "x" * 300])
@pytest.mark.parametrize("front", [True, False])
def test_what_stands_beside_ours_stays(ours: str, theirs: str, front: bool) -> None:
    box = ours + theirs if front else theirs + ours
    back = planned(box, ours)
    if back is None:
        assert not front  # the column of the last row is not known for certain
        return
    assert pressed(box, back.keys) == theirs
    assert back.theirs == collapsed(theirs)


def test_a_long_paste_that_a_marker_stands_for_is_one_letter() -> None:
    marker, ours = "[Pasted text #3 +8 lines]", "\n".join(f"line {n}" for n in range(9)) + " "
    for box in (f"{marker}theirs", f"theirs{marker}"):
        back = planned(box, ours)
        assert back is not None
        assert pressed(box, back.keys, marker) == "theirs"
    for box in (f"{marker}[Pasted text #4 +8 lines]", f"{marker} +", "[Pasted text #3 +7 lines]theirs"):
        back = planned(box, ours)
        assert back is None or back.theirs == "+"


@pytest.mark.parametrize(
    ("ours", "box"),
    [
        (OURS, OURS),  # alone
        (OURS, "theirs"),
        (OURS, f"theirs {OURS} and theirs"),  # on both sides
        (OURS, f"{OURS}{OURS}"),  # which of them is ours?
        (OURS, f"{OURS}theirs {OURS}"),
        (OURS, f"one of our own, theirs, messages, sent with proof {OURS[:9]}"),  # in it
        ("short ", "short and theirs"),  # may be theirs altogether
        ("with a picture 👍 in it ", "with a picture 👍 in it theirs"),
        ("wide letters 漢字 in it ", "wide letters 漢字 in it theirs"),
        ("a tab\tis four blanks ", "a tab\tis four blanks theirs"),
        ("combi\u0301ned letters in it ", "combi\u0301ned letters in it theirs"),
        ("\nbegins with a line feed ", "\nbegins with a line feed theirs"),
        (OURS, f"{OURS}\u0301theirs"),  # joins our last letter
        (OURS, f"theirs{OURS}\n"),  # an Enter that joined the paste: not drawn
        ("word " * (MAX_CHARS // 5 + 1), "word " * (MAX_CHARS // 5 + 1) + "theirs"),
    ],
)
def test_with_any_doubt_nothing_is_taken_away(ours: str, box: str) -> None:
    assert planned(box, ours) is None


def test_only_an_agent_whose_keys_were_measured_is_given_them() -> None:
    assert [name for name, driver in DRIVERS.items() if driver.takes_back] == ["claude"]
    composer, column = drawn(f"{OURS}theirs")
    sight = Sight(composer=composer)
    assert plan(CLAUDE, sight, OURS, column) is not None
    assert plan(DRIVERS["codex"], sight, OURS, column) is None
    assert plan(CLAUDE, replace(sight, cut=True), OURS, column) is None


letters = st.text(st.sampled_from("abc xyz[]—é\n"), min_size=PIECE_CHARS, max_size=200)


@given(ours=letters, theirs=st.text(max_size=60), front=st.booleans(), columns=st.integers(5, 80))
def test_whatever_stands_there_theirs_is_left_whole(
    ours: str, theirs: str, front: bool, columns: int
) -> None:
    typed = ours.strip() + CLAUDE.trailing
    box = typed + theirs if front else theirs + typed
    back = planned(box, typed, columns=columns)
    assume(back is not None)
    assert back is not None
    assert pressed(box, back.keys) == theirs


# What follows ---------------------------------------------------------------------------------------------

RULES = rules_of(CLAUDE)
BACK = Back(keys="Home DC End", ours="ours", theirs="theirs")
BOTH = Look(here=True, composer="ours theirs", dialog=False, mixed=True, tells=True, hooked=True, back=BACK)
THEIRS = replace(BOTH, here=False, mixed=False, composer="theirs", back=None, column=8)
EMPTY = replace(THEIRS, composer="", column=2)
TAKEN = Again(taken=True)


def play(script: list[tuple[float, Look]], **progress: Any) -> list[Step]:
    """Return the steps other than Wait, as the looks of `script` come; what is asked for is done at once."""
    now_at = Progress(pasted_at=0.0, landed_at=0.0, **progress)
    steps: list[Step] = []
    for now, look in script:
        now_at, step = next_step(RULES, now_at, look, now)
        if isinstance(step, TakeBack):
            now_at = replace(now_at, taking=Taking(step.back, now))
        if not isinstance(step, Wait):
            steps.append(step)
        if isinstance(step, Done | Again):
            break
    return steps


def test_theirs_alone_for_a_moment_says_that_ours_was_taken_back() -> None:
    rests = [(0.2, BOTH), (0.21, BOTH), (0.3, THEIRS)]
    assert play(rests) == [TakeBack(BACK)]
    assert play([*rests, (0.31 + RESTS_S, THEIRS)]) == [TakeBack(BACK), TAKEN]
    assert play([*rests, (0.31 + RESTS_S, EMPTY)]) == [TakeBack(BACK), TAKEN]  # their Enter came
    more = replace(THEIRS, composer="theirs and more")
    assert play([(0.2, BOTH), (0.3, more), (0.4, more)]) == [TakeBack(BACK), TAKEN]


def test_it_is_taken_back_at_once() -> None:
    assert play([(0.001, BOTH)]) == [TakeBack(BACK)]


@pytest.mark.parametrize("shown", ["", "their", "o theirs", "theirs o", "another"])
def test_anything_else_does_not(shown: str) -> None:
    other = replace(THEIRS, composer=shown)
    assert play([(0.2, BOTH), (0.3, other), (0.4, other), (TELLS_S, other)]) == [TakeBack(BACK)]


def test_a_prompt_of_theirs_alone_says_it_too() -> None:
    assert play([(0.2, BOTH), (0.3, EMPTY), (0.5, replace(EMPTY, alone=True))]) == [TakeBack(BACK), TAKEN]


def test_what_went_in_with_theirs_all_the_same_is_never_typed_again() -> None:
    both = replace(EMPTY, elsewhere=True)
    told = [(0.2, BOTH), (0.3, THEIRS), (0.32, both), (0.5, both)]
    assert play([*told, (0.6, replace(both, acknowledged=True))]) == [
        TakeBack(BACK),
        Done(State.ACKNOWLEDGED),
    ]
    gone = Done(State.UNCONFIRMED, MIXED_GONE)
    assert play([*told, (0.3 + VANISHED_S, replace(both, alone=True))]) == [TakeBack(BACK), gone]


def test_the_keys_are_pressed_once() -> None:
    stays = [(0.2, BOTH), (0.3, BOTH), (1.0, BOTH), (SHOWS_S, BOTH), (SHOWS_S + 1, BOTH), (60.0, BOTH)]
    assert play(stays) == [TakeBack(BACK)]
    alone = replace(BOTH, mixed=False, composer="ours", back=None)
    assert play([*stays, (61.0, alone)]) == [TakeBack(BACK), Space()]  # they took theirs away


def test_where_nothing_tells_what_became_of_it_nobody_knows() -> None:
    gone = replace(EMPTY, tells=False)
    unseen = Done(State.UNCONFIRMED, TAKEN_UNSEEN)
    assert play([(0.2, BOTH), (0.3, gone), (0.2 + TELLS_S, gone)]) == [TakeBack(BACK), unseen]


@pytest.mark.parametrize(
    "progress", [{"enters": 1, "entered_at": 0.1}, {"resumed": True}, {"dialog_seen": True}]
)
def test_it_is_not_done_where_more_may_have_happened(progress: dict[str, Any]) -> None:
    assert play([(0.2, BOTH), (0.5, BOTH)], **progress) == []
    assert play([(0.2, replace(BOTH, tells=False))]) == []


@given(
    look=st.builds(
        Look, here=st.booleans(), composer=st.sampled_from([None, "", "ours theirs", "theirs", "ours"]),
        dialog=st.booleans(), mixed=st.booleans(), tells=st.booleans(), hooked=st.booleans(),
        elsewhere=st.booleans(), alone=st.booleans(), acknowledged=st.booleans(), idle=st.booleans(),
        back=st.sampled_from([None, BACK]), column=st.sampled_from([None, 2]), unread_bytes=st.integers(0, 1),
    ),
    seen_at=st.none() | st.floats(0, 10),
    now=st.floats(0, 20),
)  # fmt: skip
def test_it_is_typed_again_only_on_proof_and_never_entered_beside_theirs(
    look: Look, seen_at: float | None, now: float
) -> None:
    taking = Taking(BACK, 0.0, seen_at)
    progress = Progress(pasted_at=0.0, landed_at=0.0, mixed=True, taking=taking)
    _, step = next_step(RULES, progress, look, now)
    assert not isinstance(step, TakeBack)
    if isinstance(step, Again):
        assert not look.elsewhere
        assert not look.acknowledged
        assert not look.here
        assert seen_at is not None or look.alone
    if isinstance(step, Enter | Space):
        assert look.here
        assert not look.mixed


def test_a_prompt_that_holds_it_all_the_same_is_recognised_while_it_waits() -> None:
    item = Item(message=message(body=OURS), agent=AgentId("a"), arrival=1, typed=OURS, backs=1)
    assert item.went_in_beside(f"{OURS}theirs")
    assert not item.went_in_beside("theirs")
    assert not item.went_in_beside(OURS)  # that is another message of the same words
    item.phase = Phase.TYPING
    assert not item.went_in_beside(f"{OURS}theirs")
