"""A start screen whose box is empty again after a text was in it is about to go, and takes a paste with it."""

from __future__ import annotations

import pytest

from noval_d.agents.opening import OPENS_S, Opening
from noval_d.agents.sight import Sight, look
from tests.support.screens import DRIVERS, recordings

SCREENS = recordings("opencode")


def see(*screens: str) -> Opening:
    """Return what is known after those screens, a tenth of a second apart from 0 on."""
    opening = Opening()
    for number, name in enumerate(screens):
        opening.saw(look(DRIVERS["opencode"], SCREENS[name].screen), number / 10)
    return opening


@pytest.mark.parametrize(
    ("screens", "opens"),
    [
        (("idle_home",), False),
        (("draft_home",), False),
        (("draft_home", "idle_home"), True),
        (("draft_home", "idle_home", "idle_home"), True),
        (("draft_home", "idle_home", "draft_home"), False),
        (("draft_home", "idle_home", "view_models"), False),
        (("draft_home", "idle_home", "idle_after_output"), False),
        (("draft_home", "idle_after_output", "idle_home"), False),
        (("draft_one_line", "idle_after_output"), False),
    ],
)
def test_a_first_prompt_opens_a_conversation(screens: tuple[str, ...], opens: bool) -> None:
    assert see(*screens).lasts(0.5) is opens


def test_a_draft_that_was_taken_back_holds_nothing_up_for_long() -> None:
    opening = see("draft_home", "idle_home", "idle_home")
    assert opening.lasts(OPENS_S)
    assert not opening.lasts(OPENS_S + 0.1)


def test_an_agent_without_a_start_screen_opens_nothing() -> None:
    opening = Opening()
    for text in ("half a thought", ""):
        opening.saw(Sight(composer=text), 1.0)
    assert not opening.lasts(1.0)
