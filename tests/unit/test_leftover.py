"""A text that was sent and stayed in the composer is cleared; what a person typed never is."""

from __future__ import annotations

from dataclasses import replace

from nova_torch.values import PaneId
from noval_d.agents.driver_file import load_drivers
from noval_d.agents.sight import Sight
from noval_d.delivery.leftover import (
    MAX_KEYS,
    RETURNS_S,
    STAYS_S,
    Clear,
    Forget,
    Keep,
    Later,
    Left,
    tidy,
    which,
)
from noval_d.delivery.view import AgentView
from noval_d.tmux.panes import PaneFacts

FACTS = PaneFacts(
    pane_id=PaneId("%1"),
    pid=1,
    tty="/dev/null",
    command="claude",
    dead=False,
    in_mode=False,
    input_off=False,
    synchronized=False,
    title="",
    session="s",
    window_index=0,
    window_name="w",
    cursor_x=0,
    cursor_y=0,
    cursor_visible=False,
    width=80,
    height=24,
)
LEFT = Left(typed="do the dishes\nand sing ", at=100.0)
LATE = 100.0 + STAYS_S + 0.01


def view(
    composer: str | None, *, dialog: str | None = None, present: bool = True, pasted: bool = False
) -> AgentView:
    sight = Sight(composer=composer, dialog=dialog, pasted=pasted)
    return AgentView(driver=load_drivers()["claude"], facts=FACTS, sight=sight, present=present)


def test_an_agent_gets_time_to_clear_its_composer_itself() -> None:
    assert isinstance(tidy(LEFT, view("do the dishes\nand sing"), 100.1), Later)
    assert isinstance(tidy(LEFT, view("do the dish"), 100.1), Later)


def test_a_taken_text_that_comes_back_is_cleared_key_by_key() -> None:
    assert tidy(LEFT, view(""), LATE) == Keep()
    assert tidy(LEFT, view("do the dishes\nand sing"), LATE + 3) == Clear()
    begun = replace(LEFT, keys=1)
    assert tidy(begun, view("do the dishes\nand"), LATE) == Clear()
    assert tidy(begun, view("do the"), LATE + RETURNS_S) == Clear()
    assert tidy(begun, view("and sing"), LATE) == Clear()  # the cursor was in front of it
    assert tidy(begun, view(""), LATE) == Forget()


def test_no_key_is_pressed_before_the_last_one_was_read() -> None:
    waiting = replace(view("do the dishes\nand sing"), unread_bytes=2)
    assert isinstance(tidy(LEFT, waiting, LATE), Later)


def test_what_a_person_typed_is_left_alone() -> None:
    for draft in ("do the dishes\nand sing loudly", "something else", "do the", "[Pasted text #1 +9 lines]"):
        assert tidy(LEFT, view(draft), LATE) == Keep()
        assert tidy(replace(LEFT, keys=1), view(draft + "?"), LATE) == Forget()


def test_a_pasted_marker_is_ours_when_it_stands_alone_for_as_many_lines() -> None:
    long = Left(typed="line\n" * 9 + "end ", at=100.0)
    marker = view("[Pasted text #3 +9 lines]", pasted=True)
    assert tidy(long, marker, LATE) == Clear()
    assert tidy(long, view("[Pasted text #3 +8 lines]", pasted=True), LATE) == Keep()
    assert tidy(long, view("see [Pasted text #3 +9 lines]", pasted=True), LATE) == Keep()


def test_a_text_that_comes_back_much_later_is_a_persons() -> None:
    assert tidy(LEFT, view("do the dishes\nand sing"), 100.0 + RETURNS_S) == Forget()
    assert tidy(LEFT, view(""), 100.0 + RETURNS_S) == Forget()


def test_nothing_is_pressed_without_an_agent() -> None:
    assert tidy(LEFT, view("do the dishes\nand sing", present=False), LATE) == Forget()
    assert tidy(LEFT, view(None, dialog="Do you want to proceed?"), LATE) == Keep()


def test_it_ends() -> None:
    assert tidy(replace(LEFT, keys=MAX_KEYS), view("do the"), LATE) == Forget()


def test_of_several_taken_texts_the_one_in_the_composer_is_meant() -> None:
    other = Left(typed="something else ", at=LEFT.at + 0.2)
    assert which((LEFT, other), view("do the dishes\nand sing"), LATE)[-1] == LEFT
    assert which((LEFT, other), view("something else"), LATE)[-1] == other
    assert which((LEFT, other), view(""), LEFT.at + RETURNS_S + 0.1) == (other,)
