from __future__ import annotations

import pytest

from noval_d.agents.attention import attention
from noval_d.agents.rounds import (
    AFTER_HOOK_S,
    BUSY_S,
    ROUND_S,
    SECOND_S,
    UNSETTLED_S,
    Due,
    Known,
    due,
    line_due,
)
from noval_d.agents.sight import Sight, look
from noval_d.agents.states import Signs, Standing, stand
from tests.support.screens import CLAUDE, CLAUDE_SCREENS

EMPTY = Sight(composer="")
DIALOG = Sight(composer=None, dialog="Do you want to?", reason="no box")


def said(standing: Standing) -> tuple[str, str]:
    return standing.state.value, standing.source.value


def at(name: str, *, working: bool = False) -> Standing:
    return stand(Signs(pane=True, working=working, sight=look(CLAUDE, CLAUDE_SCREENS[name].screen)))


# -- which state, and who says so --


@pytest.mark.parametrize(
    ("signs", "state"),
    [
        (Signs(pane=False), ("lost", "tmux")),
        (Signs(pane=True, dead=True, paused=True), ("exited", "tmux")),
        (Signs(pane=True, present=False, paused=True), ("exited", "process")),
        (Signs(pane=True, paused=True, sight=DIALOG), ("paused", "operator")),
        (Signs(pane=True, sight=DIALOG, working=True), ("dialog", "screen")),
        (Signs(pane=True, asking=True, sight=EMPTY), ("dialog", "hook")),
        (Signs(pane=True, asking=True, sight=DIALOG), ("dialog", "screen")),
        (Signs(pane=True, ready=False, sight=EMPTY), ("starting", "screen")),
        (Signs(pane=True, compacting=True, sight=EMPTY), ("busy", "hook")),
        (Signs(pane=True, working=True, sight=EMPTY), ("busy", "hook")),
        (Signs(pane=True, working=True), ("busy", "hook")),
        (Signs(pane=True, sight=Sight(composer="", busy=True)), ("busy", "screen")),
        (Signs(pane=True, sight=Sight(composer="half a")), ("draft", "screen")),
        (Signs(pane=True, typing=True, sight=Sight(composer="half a")), ("idle", "screen")),
        (Signs(pane=True, sight=EMPTY), ("idle", "screen")),
        (Signs(pane=True), ("idle", "hook")),
        (Signs(pane=True, line=True), ("idle", "process")),
    ],
)
def test_a_state_names_who_told_of_it(signs: Signs, state: tuple[str, str]) -> None:
    assert said(stand(signs)) == state


def test_what_a_pane_shows_is_kept_apart_from_what_everybody_may_know() -> None:
    for name in ("permission_bash", "draft_one_line", "limit_reached", "limit_dialog"):
        standing = at(name)
        assert standing.shown
        assert standing.shown not in standing.detail


@pytest.mark.parametrize("name", ["limit_reached", "limit_again", "limit_requests"])
def test_a_reached_limit_needs_a_person_and_comes_with_the_agents_own_words(name: str) -> None:
    standing = at(name)
    needs = attention(standing, 0)
    assert said(standing) == ("idle", "screen")
    assert needs is not None
    assert needs.reason == "limit"
    assert "limit" in needs.shown.lower()


def test_a_limit_with_its_dialog_is_a_dialog_and_keeps_the_limit() -> None:
    standing = at("limit_dialog")
    assert said(standing) == ("dialog", "screen")
    assert standing.limit.startswith("You've hit your session limit")


@pytest.mark.parametrize("name", ["limit_over", "limit_over_busy", "compacted", "composer_quoted", "idle"])
def test_a_limit_that_is_over_or_only_quoted_is_none(name: str) -> None:
    assert at(name).limit == ""


def test_an_agent_that_waits_for_the_end_of_its_limit_works_and_needs_a_person() -> None:
    sight = Sight(composer="", busy=True, limit="Rate limit reached")
    for working in (False, True):
        standing = stand(Signs(pane=True, working=working, sight=sight))
        needs = attention(standing, 0)
        assert standing.state.value == "busy"
        assert needs is not None
        assert (needs.reason, needs.shown) == ("limit", "Rate limit reached")


def test_an_agent_that_compacts_is_busy_and_says_why() -> None:
    standing = at("compacting")
    assert said(standing) == ("busy", "screen")
    assert "compacts" in standing.detail


# -- who needs a person --


def test_an_agent_that_has_exited_needs_a_person_when_messages_wait() -> None:
    gone = stand(Signs(pane=True, present=False, command="bash"))
    assert attention(gone, 0) is None
    needs = attention(gone, 2)
    assert needs is not None
    assert (needs.reason, needs.shown) == ("exited", "")
    assert "bash" in needs.detail


@pytest.mark.parametrize("name", ["idle", "busy", "compacting", "start_blank"])
def test_an_agent_that_goes_on_by_itself_needs_nobody(name: str) -> None:
    assert attention(at(name), 3) is None


# -- when a pane is looked at --


def test_a_pane_that_nothing_is_told_of_waits_for_its_round() -> None:
    assert due(Known(looked_at=100.0)) == Due(100.0 + ROUND_S)
    spread = {due(Known(looked_at=0.0, jitter=n / 10)).at for n in range(10)}
    assert len(spread) == 10


def test_a_pane_that_drew_is_looked_at_now_and_once_more_when_its_second_is_over() -> None:
    assert due(Known(looked_at=100.0, stirred_at=101.0)) == Due(101.0)
    assert due(Known(looked_at=101.1, stirred_at=101.0)) == Due(101.0 + SECOND_S)
    assert due(Known(looked_at=102.1, stirred_at=101.0)).at > 102.1 + 10


def test_a_turned_title_and_a_hook_do_not_wait_for_their_turn() -> None:
    assert due(Known(looked_at=100.0, turned_at=101.0, busy_by_title=True)) == Due(101.0, urgent=True)
    assert due(Known(looked_at=100.0, told_at=101.0)) == Due(101.0 + AFTER_HOOK_S, urgent=True)


def test_an_agent_whose_title_tells_of_its_work_is_seldom_looked_at_however_much_it_draws() -> None:
    assert due(Known(looked_at=100.0, stirred_at=101.0, busy_by_title=True)) == Due(100.0 + BUSY_S)


def test_a_state_that_ends_by_time_alone_is_looked_at_again_soon() -> None:
    assert due(Known(looked_at=100.0, unsettled=True)) == Due(100.0 + UNSETTLED_S)


def test_a_line_based_program_is_looked_at_when_it_has_drawn_and_until_its_line_rests() -> None:
    never = float("inf")
    assert line_due(10.0, -never, never) == Due(never)
    assert line_due(10.0, 12.0, never) == Due(12.0)
    assert line_due(12.1, 12.0, 12.4) == Due(12.4)
    assert line_due(12.4, 12.0, never) == Due(
        12.0 + SECOND_S
    )  # what is drawn in the same second is not told again
    assert line_due(13.1, 12.0, never) == Due(never)
