from __future__ import annotations

import re

import pytest

from nova_torch.errors import InvalidRequest
from nova_torch.values import PaneId
from noval_d.agents.record import read_recording, recorded, write_recording
from noval_d.tmux.panes import PaneFacts
from tests.support.screens import CLAUDE, CLAUDE_SCREENS

RULE = "─" * 40
FACTS = PaneFacts(
    pane_id=PaneId("%1"), pid=1, tty="/dev/pts/1", command="claude", dead=False, in_mode=False, input_off=False,
    synchronized=False, title="on anna", session="s", window_index=0, window_name="w", cursor_x=2, cursor_y=1,
    cursor_visible=False, width=40, height=3,
)  # fmt: skip
LINES = [RULE.encode(), "❯ ask anna".encode(), RULE.encode()]


def test_a_pane_is_recorded_with_what_its_driver_makes_of_it() -> None:
    recording = read_recording(recorded(LINES, FACTS, CLAUDE, replace={}))
    assert recording.expect == {"composer": "ask anna", "dialog": None, "busy": False}
    assert recording.screen.text(1) == "❯ ask anna"


def test_a_recording_is_made_neutral_without_moving_a_column() -> None:
    text = recorded(LINES, FACTS, CLAUDE, replace={"anna": "user"})
    assert "anna" not in text
    assert read_recording(text).title == "on user"


def test_a_replacement_of_another_length_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="not as long"):
        recorded(LINES, FACTS, CLAUDE, replace={"anna": "somebody"})


def test_a_recording_is_written_as_it_was_read() -> None:
    for recording in CLAUDE_SCREENS.values():
        assert read_recording(write_recording(recording, recording.expect)) == recording


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"rows": 1}\n', "no json"])
def test_what_is_no_recording_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        read_recording(text)


def test_no_recording_names_a_machine_or_a_person() -> None:
    for name, recording in CLAUDE_SCREENS.items():
        text = "\n".join([recording.title, *(row.text for row in recording.screen.rows)])
        assert not re.search(r"/(?:tmp|root|work)/|/home/(?!developer/)", text), name
