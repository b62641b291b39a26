"""The steps after a paste: Enter only by the rules of DELIVERY 3, a verdict only on proof."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from nova_torch.values import State
from noval_d.delivery.steps import (
    MAX_ENTERS,
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
    next_step,
    spaced,
)

CLAUDE = Rules(settle_s=0.1, enter_window_s=0.6, space_wait_s=0.08, landed_within_s=2.0, defers_dialogs=True)
SHY = replace(CLAUDE, defers_dialogs=False)
CODEX = replace(CLAUDE, unsent_if_kept=True)
HERE = Look(here=True, composer="text", dialog=False)
EMPTY = Look(here=False, composer="", dialog=False)
DIALOG = Look(here=False, composer=None, dialog=True)

moments = st.none() | st.floats(0, 20)
looks = st.builds(
    Look, here=st.booleans(), composer=st.sampled_from([None, "", "text"]), dialog=st.booleans(),
    unread_bytes=st.integers(0, 1), running=st.booleans(), reading=st.booleans(),
    acknowledged=st.booleans(), hooked=st.booleans(), busy=st.booleans(), echoed=st.booleans(),
    pending=st.booleans(), mixed=st.booleans(), undrawn=st.booleans(),
)  # fmt: skip
progresses = st.builds(
    Progress, pasted_at=st.just(0.0), landed_at=moments, enters=st.integers(0, 4), entered_at=moments,
    spaces=st.integers(0, 9), spaced_at=moments, gone_at=moments, dialog_seen=st.booleans(),
    calm=st.booleans(), resumed=st.booleans(), busy_seen=st.booleans(), mixed=st.booleans(),
)  # fmt: skip


@given(rules=st.sampled_from([CLAUDE, SHY, CODEX]), progress=progresses, look=looks, now=st.floats(0, 30))
def test_enter_is_pressed_only_where_the_text_is_and_soon_after_input(
    rules: Rules, progress: Progress, look: Look, now: float
) -> None:
    assume((progress.enters > 0) == (progress.entered_at is not None))
    assume(rules.defers_dialogs or progress.spaced_at is None)  # no other agent is ever given a space
    _, step = next_step(rules, progress, look, now)
    if not isinstance(step, (Enter, Space)):
        return
    assert look.here
    assert not look.mixed
    assert not look.undrawn
    assert look.composer is not None
    assert not look.dialog
    assert look.unread_bytes == 0
    assert look.running
    assert not look.reading
    assert not look.acknowledged
    if isinstance(step, Space):
        assert rules.defers_dialogs
        assert progress.enters < MAX_ENTERS or progress.spaced_at is not None
    elif progress.spaced_at is not None:
        assert rules.space_wait_s <= now - progress.spaced_at <= rules.enter_window_s
    else:
        assert progress.enters == 0
        if rules.defers_dialogs:
            assert progress.calm
            assert not progress.resumed
            assert now - progress.pasted_at <= rules.enter_window_s


@given(rules=st.sampled_from([CLAUDE, SHY, CODEX]), progress=progresses, look=looks, now=st.floats(0, 30))
def test_a_verdict_of_delivery_needs_proof_and_a_repeat_needs_a_dialog(
    rules: Rules, progress: Progress, look: Look, now: float
) -> None:
    _, step = next_step(rules, progress, look, now)
    if isinstance(step, Done) and step.state is State.SUBMITTED:
        assert progress.enters > 0 or progress.entered_at is not None
        assert look.echoed or not look.here
        assert look.composer is not None
    if isinstance(step, Done) and step.state is State.ACKNOWLEDGED:
        assert look.acknowledged
    if isinstance(step, Again):
        assert progress.enters == 0
        assert progress.dialog_seen
        assert progress.landed_at is None
        assert not progress.resumed
        assert look.composer == ""
    if isinstance(step, Done):
        assert step.state in {State.SUBMITTED, State.ACKNOWLEDGED, State.UNCONFIRMED}


def play(rules: Rules, script: list[tuple[float, Look]], progress: Progress | None = None) -> list[Step]:
    """Return the steps other than Wait, as the looks of `script` come; each step asked for is done at once."""
    progress = progress or Progress(pasted_at=0.0)
    steps: list[Step] = []
    for now, look in script:
        progress, step = next_step(rules, progress, look, now)
        if isinstance(step, Enter):
            progress = entered(progress, now, busy=look.busy)
        elif isinstance(step, Space):
            progress = spaced(progress, now)
        if not isinstance(step, Wait):
            steps.append(step)
        if isinstance(step, Done):
            break
    return steps


def test_a_paste_that_lands_is_entered_after_the_settle_time_and_proven_by_an_empty_box() -> None:
    script = [(0.02, HERE), (0.1, HERE), (0.13, HERE), (0.14, EMPTY), (0.2, EMPTY), (0.3, EMPTY)]
    assert play(CLAUDE, script) == [Enter(), Done(State.SUBMITTED)]


def test_a_swallowed_enter_is_pressed_again_after_a_space() -> None:
    script = [(0.02, HERE), (0.13, HERE), (1.0, HERE), (1.4, HERE), (1.41, HERE), (1.5, HERE), (1.6, EMPTY)]
    assert play(CLAUDE, [*script, (1.8, EMPTY)]) == [Enter(), Space(), Enter(), Done(State.SUBMITTED)]


def test_an_agent_without_deferral_gets_no_second_enter() -> None:
    steps = play(SHY, [(0.02, HERE), (0.13, HERE), (1.4, HERE), (31.0, HERE)])
    assert [type(step) for step in steps] == [Enter, Done]
    assert isinstance(steps[-1], Done)
    assert steps[-1].state is State.UNCONFIRMED


def test_a_landing_too_late_for_a_safe_enter_gets_a_space_first() -> None:
    script = [(0.9, HERE), (1.01, HERE), (1.05, HERE), (1.1, HERE), (1.2, EMPTY), (1.4, EMPTY)]
    assert play(CLAUDE, script) == [Space(), Enter(), Done(State.SUBMITTED)]


def test_while_a_dialog_is_open_nothing_is_pressed_and_afterwards_a_space_comes_first() -> None:
    script = [(0.02, HERE), (0.05, DIALOG), (5.0, DIALOG), (6.0, HERE), (6.02, HERE), (6.1, HERE)]
    assert play(CLAUDE, script) == [Space(), Enter()]


def test_a_paste_that_a_dialog_swallowed_is_typed_again() -> None:
    script = [(0.01, DIALOG), (3.0, DIALOG), (3.1, EMPTY), (3.7, EMPTY)]
    assert play(CLAUDE, script) == [Again()]


def test_a_text_that_never_shows_is_unconfirmed() -> None:
    (step,) = play(CLAUDE, [(0.1, EMPTY), (1.0, EMPTY), (2.1, EMPTY)])
    assert isinstance(step, Done)
    assert step.state is State.UNCONFIRMED


def test_after_a_crash_no_enter_goes_without_a_space_before_it() -> None:
    resumed = Progress(pasted_at=10.0, calm=False, resumed=True)
    script = [(10.0, HERE), (10.11, HERE), (10.15, HERE), (10.2, HERE), (10.3, EMPTY), (10.5, EMPTY)]
    assert play(CLAUDE, script, resumed) == [Space(), Enter(), Done(State.SUBMITTED)]


def test_an_agent_that_ended_leaves_it_unconfirmed() -> None:
    (step,) = play(CLAUDE, [(0.1, replace(HERE, running=False))])
    assert isinstance(step, Done)
    assert step.state is State.UNCONFIRMED


@given(progress=progresses, look=looks, now=st.floats(0, 30))
def test_an_agent_that_takes_nothing_while_it_works_gets_no_enter_then(
    progress: Progress, look: Look, now: float
) -> None:
    assume((progress.enters > 0) == (progress.entered_at is not None))
    _, step = next_step(replace(SHY, queues=False), progress, replace(look, busy=True), now)
    if progress.enters == 0:
        assert not isinstance(step, (Enter, Space))


def test_a_turn_that_begins_between_paste_and_enter_is_waited_for() -> None:
    serial = replace(SHY, queues=False)
    progress = Progress(pasted_at=0.0, landed_at=0.0)
    progress, step = next_step(serial, progress, replace(HERE, busy=True), 0.3)
    assert step == Wait(0.1, "busy")
    assert next_step(serial, progress, HERE, 5.0)[1] == Enter()


def test_an_input_box_that_goes_away_with_an_enter_was_submitted_where_work_hides_it() -> None:
    rules = replace(SHY, queues=False, hides=True)
    working = Look(here=False, composer=None, dialog=False, busy=True)
    script = [(0.02, HERE), (0.13, HERE), (0.2, working), (0.4, working)]
    assert play(rules, script) == [Enter(), Done(State.SUBMITTED)]
    assert play(replace(rules, hides=False), script) == [Enter()]
    asking = replace(working, dialog=True, busy=False)
    assert play(rules, [(0.02, HERE), (0.13, HERE), (0.2, asking), (9.0, asking)]) == [Enter()]
    assert play(rules, [(0.02, working), (0.4, working)]) == []
    assert play(rules, [(0.02, HERE), (0.13, HERE), (0.2, working), (0.25, HERE), (0.4, HERE)]) == [Enter()]


# Codex: a text that waits while a tool asks is given back when the tool is refused ------------------------


def test_a_text_that_waits_to_be_taken_is_not_submitted_yet() -> None:
    progress = Progress(pasted_at=0.0, landed_at=0.1, enters=1, entered_at=0.3, gone_at=0.4)
    progress, step = next_step(CODEX, progress, replace(EMPTY, busy=True, pending=True), 5.0)
    assert step == Wait(0.1, "busy")
    progress, step = next_step(CODEX, progress, EMPTY, 5.1)
    assert isinstance(step, Wait)
    _, step = next_step(CODEX, progress, EMPTY, 5.3)
    assert step == Done(State.SUBMITTED)


def test_a_text_that_is_given_back_after_a_dialog_is_sent_again() -> None:
    progress = Progress(pasted_at=0.0, landed_at=0.1, enters=1, entered_at=0.3, gone_at=0.4)
    progress, step = next_step(CODEX, progress, DIALOG, 1.0)
    assert isinstance(step, Wait)
    progress, step = next_step(CODEX, progress, EMPTY, 9.0)
    progress, step = next_step(CODEX, progress, EMPTY, 9.2)
    assert isinstance(step, Wait)  # an empty box right after a dialog proves nothing yet
    progress, step = next_step(CODEX, progress, HERE, 9.3)
    assert step == Space()
    progress, step = next_step(CODEX, spaced(progress, 9.3), HERE, 9.4)
    assert step == Enter()
    again = entered(progress, 9.4, busy=False)
    assert again.enters == 2
    _, step = next_step(CODEX, replace(again, enters=MAX_ENTERS), HERE, 20.0)
    assert step == Done(State.UNCONFIRMED, "the input box still holds the text after Enter")
