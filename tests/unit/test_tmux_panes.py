"""The facts of panes, read from what tmux printed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_torch.values import PaneId
from noval_d.tmux.fields import BadFacts
from noval_d.tmux.panes import PaneFacts, parse_pane, parse_panes
from noval_d.tmux.watch import PaneState, PaneTable, parse_watch

ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
COMMAND = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\x1e"), max_size=20)
NUMBER = st.integers(min_value=0, max_value=10**6)
FACTS = st.builds(
    PaneFacts,
    pane_id=NUMBER.map(lambda number: PaneId(f"%{number}")),
    pid=NUMBER, tty=ANY, command=COMMAND, title=ANY, session=ANY, window_name=ANY,
    dead=st.booleans(), in_mode=st.booleans(), input_off=st.booleans(), synchronized=st.booleans(),
    cursor_visible=st.booleans(), window_index=NUMBER, cursor_x=NUMBER, cursor_y=NUMBER, width=NUMBER,
    height=NUMBER, history_rows=NUMBER, nova_agent=ANY, nova_node=ANY, nova_spec=ANY, nova_last=ANY,
    nova_prompt=ANY, nova_keys=ANY,
)  # fmt: skip
STATES = st.builds(
    PaneState,
    pid=NUMBER,
    command=COMMAND,
    dead=st.booleans(),
    in_mode=st.booleans(),
    title=ANY,
    active_s=NUMBER,
)


def sized(text: str) -> bytes:
    data = text.encode()
    return b"%d:%b " % (len(data), data)


def printed(facts: PaneFacts) -> bytes:
    numbers = (
        facts.pid, facts.dead, facts.in_mode, facts.input_off, facts.synchronized, facts.window_index,
        facts.cursor_x, facts.cursor_y, facts.cursor_visible, facts.width, facts.height, facts.history_rows,
    )  # fmt: skip
    texts = (
        facts.tty, facts.session, facts.window_name,
        facts.nova_agent, facts.nova_node, facts.nova_spec, facts.nova_last, facts.nova_prompt,
        facts.nova_keys, facts.title,
    )  # fmt: skip
    return b"".join([
        b"P ", facts.pane_id.encode(), b" ", *(b"%d " % number for number in numbers), *map(sized, texts),
        facts.command.encode(), b"\x1e",
    ])  # fmt: skip


@given(st.lists(FACTS, max_size=4))
def test_whatever_the_texts_hold_no_field_is_shifted(panes: list[PaneFacts]) -> None:
    assert parse_panes(b"\n".join(map(printed, panes))) == tuple(panes)


@given(FACTS, FACTS)
def test_a_title_that_copies_another_panes_facts_is_only_a_title(
    forged: PaneFacts, victim: PaneFacts
) -> None:
    title = "x\n" + printed(victim).decode()
    line = printed(forged).replace(
        sized(forged.title) + forged.command.encode(), sized(title) + forged.command.encode()
    )
    (pane,) = parse_panes(line)
    assert pane.pane_id == forged.pane_id


@given(FACTS, st.integers(min_value=1, max_value=400))
def test_facts_that_are_cut_are_refused(facts: PaneFacts, cut: int) -> None:
    line = printed(facts)
    with pytest.raises(BadFacts):
        parse_pane(line[: -min(cut, len(line))])


@pytest.mark.parametrize(
    "line", [b"", b"x", b"P %1 a ", b"P %1 1 0 0 0 0 0 0 0 1 80 24 zz:", b"P %1 1 0 0 0 0 0 0 0 1 80 24 9:"]
)
def test_facts_of_another_form_are_refused(line: bytes) -> None:
    with pytest.raises(BadFacts):
        parse_pane(line)


@given(st.dictionaries(NUMBER.map(lambda number: PaneId(f"%{number}")), STATES, max_size=5))
def test_a_watch_reads_back_every_pane(panes: dict[PaneId, PaneState]) -> None:
    value = b"".join(
        b"%b %d %d %d %d %b%b\x1e"
        % (
            pane.encode(),
            state.pid,
            state.dead,
            state.in_mode,
            state.active_s,
            sized(state.title),
            state.command.encode(),
        )
        for pane, state in panes.items()
    )
    assert parse_watch(value) == panes


def test_a_table_tells_only_what_is_different() -> None:
    idle = PaneState(pid=1, command="cat", dead=False, in_mode=False, title="")
    busy = PaneState(pid=1, command="cat", dead=False, in_mode=False, title="busy")
    table = PaneTable()
    first = table.update({PaneId("%1"): idle, PaneId("%2"): idle})
    assert first is not None
    assert set(first.changed) == {"%1", "%2"}
    assert table.update({PaneId("%1"): idle, PaneId("%2"): idle}) is None
    second = table.update({PaneId("%1"): busy})
    assert second is not None
    assert second.changed == {"%1": busy}
    assert second.gone == {"%2"}


def test_a_pane_that_only_drew_something_is_told_apart() -> None:
    quiet = PaneState(pid=1, command="cat", dead=False, in_mode=False, title="", active_s=7)
    drew = replace(quiet, active_s=8)
    table = PaneTable()
    table.update({PaneId("%1"): quiet, PaneId("%2"): quiet})
    told = table.update({PaneId("%1"): drew, PaneId("%2"): replace(drew, title="new")})
    assert told is not None
    assert (set(told.stirred), set(told.changed)) == ({"%1"}, {"%2"})
    assert table.active_s(PaneId("%1")) == 8
    assert table.active_s(PaneId("%9")) == 0
