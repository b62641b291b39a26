"""The gate: never Type while anything is in the way, Type when nothing is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_torch.values import Form, HoldReason, Message, MessageId, PaneId, State
from noval_d.agents.driver import Driver
from noval_d.agents.sight import Sight
from noval_d.delivery.gate import Hold, Refuse, Type, decide
from noval_d.delivery.view import AgentView
from noval_d.tmux.panes import PaneFacts

NOW_MS = 1_000_000
COMPOSER = Driver(name="composer", commands=("agent",), queues_while_busy=True, accepts_commands=True)
SERIAL = replace(COMPOSER, name="serial", queues_while_busy=False, accepts_commands=False)
LINE = Driver(name="line", kind="line")
FACTS = PaneFacts(
    pane_id=PaneId("%1"), pid=1, tty="/dev/pts/1", command="agent", dead=False, in_mode=False, input_off=False,
    synchronized=False, title="", session="s", window_index=0, window_name="w", cursor_x=0, cursor_y=0,
    cursor_visible=False, width=80, height=24,
)  # fmt: skip


def message(body: str = "hello", *, expires_ms: int | None = None, form: Form = Form.AUTO) -> Message:
    return Message(
        id=MessageId("01J"), sender="user:x", target="a", body=body, created_ms=0,
        expires_ms=expires_ms, headers={"form": form.value},
    )  # fmt: skip


facts = st.builds(
    lambda dead, in_mode, input_off, sync: replace(
        FACTS, dead=dead, in_mode=in_mode, input_off=input_off, synchronized=sync
    ),
    *[st.booleans()] * 4,
)
sights = st.builds(
    Sight,
    composer=st.none() | st.just("") | st.text(min_size=1),
    dialog=st.none() | st.just("Do you want to?"),
    busy=st.booleans(),
)
views = st.builds(
    AgentView,
    driver=st.sampled_from([COMPOSER, SERIAL]),
    facts=st.none() | facts,
    sight=sights,
    present=st.booleans(),
    ready=st.booleans(),
    opening=st.booleans(),
    paused=st.booleans(),
    unread_bytes=st.integers(0, 2),
    asking=st.booleans(),
    lease_ok=st.booleans(),
)


def in_the_way(view: AgentView) -> set[HoldReason]:
    """Say anew, one fact a line, what blocks a paste."""
    sight, pane = view.sight, view.facts
    assert sight is not None
    found = {
        HoldReason.PAUSED: view.paused,
        HoldReason.NODE_LOST: not view.lease_ok,
        HoldReason.NO_AGENT: pane is None or pane.dead or not view.present,
        HoldReason.INPUT_OFF: pane is not None and pane.input_off,
        HoldReason.COPY_MODE: pane is not None and pane.in_mode,
        HoldReason.NOT_READING: view.unread_bytes > 0,
        HoldReason.DIALOG: sight.dialog is not None or view.asking or sight.composer is None,
        HoldReason.STARTING: not view.ready or view.opening,
        HoldReason.DRAFT: bool(sight.composer),
        HoldReason.BUSY: sight.busy and not view.driver.queues_while_busy,
    }
    return {reason for reason, blocks in found.items() if blocks}


@given(view=views)
def test_it_is_typed_exactly_when_nothing_is_in_the_way(view: AgentView) -> None:
    reasons = in_the_way(view)
    decision = decide(message(), view, NOW_MS)
    if not reasons:
        assert decision == Type()
    else:
        assert isinstance(decision, Hold)
        assert decision.reason in reasons
        assert decision.detail
        assert decision.recheck_s > 0


@given(view=views)
def test_what_has_expired_is_refused_whatever_the_pane_shows(view: AgentView) -> None:
    decision = decide(message(expires_ms=NOW_MS), view, NOW_MS)
    assert isinstance(decision, Refuse)
    assert decision.state is State.EXPIRED
    assert not isinstance(decide(message(expires_ms=NOW_MS + 1), view, NOW_MS), Refuse)


@given(view=views)
def test_a_command_is_for_drivers_that_know_commands(view: AgentView) -> None:
    decision = decide(message("/compact", form=Form.COMMAND), view, NOW_MS)
    assert isinstance(decision, Refuse) is not view.driver.accepts_commands


@pytest.mark.parametrize(
    ("body", "refused"),
    [("x" * 4095, False), ("x" * 4096, True), ("é" * 2048, True), ("x\n" * 5000, False), ("\x00" * 9 + "x", False)],
    ids=["longest", "too long", "counted in bytes", "many lines", "counted as cleaned"],
)  # fmt: skip
def test_a_line_buffered_program_gets_no_line_that_it_would_cut(body: str, refused: bool) -> None:
    view = AgentView(driver=LINE, facts=FACTS, line_buffered=True)
    assert isinstance(decide(message(body), view, NOW_MS), Refuse) is refused
    assert decide(message(body), replace(view, line_buffered=False), NOW_MS) == Type()


def test_a_turn_that_only_a_hook_tells_of_holds_for_an_agent_that_takes_nothing_meanwhile() -> None:
    view = AgentView(driver=SERIAL, facts=FACTS, sight=Sight(composer=""), working=True)
    held = decide(message(), view, NOW_MS)
    assert isinstance(held, Hold)
    assert held.reason is HoldReason.BUSY
    assert decide(message(), replace(view, driver=COMPOSER), NOW_MS) == Type()


def test_an_agent_whose_input_box_comes_back_reads_first_what_was_typed_ahead() -> None:
    hiding = replace(SERIAL, busy_cursor_hidden=True)
    view = AgentView(driver=hiding, facts=FACTS, sight=Sight(composer=""), rested=False)
    held = decide(message(), view, NOW_MS)
    assert isinstance(held, Hold)
    assert (held.reason, held.recheck_s) == (HoldReason.BUSY, 0.1)
    assert decide(message(), replace(view, rested=True), NOW_MS) == Type()
    assert decide(message(), replace(view, driver=SERIAL), NOW_MS) == Type()


@given(views)
def test_what_goes_past_the_screen_is_held_by_all_but_what_the_input_box_shows_and_a_turn(
    view: AgentView,
) -> None:
    straight = decide(message(), replace(view, direct=True), NOW_MS)
    assert view.sight is not None
    free = replace(view.sight, composer="", busy=False)
    plain = replace(view, sight=free, working=False, opening=False)
    assert straight == decide(message(), plain, NOW_MS)
