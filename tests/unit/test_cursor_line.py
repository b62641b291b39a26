"""The finder of programs that nobody described: what it calls empty is empty, on screens it was not made for."""

from __future__ import annotations

from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_torch.values import AgentId, AgentSpec, Message, MessageId, State
from noval_d.agents.driver_file import load_drivers
from noval_d.agents.finders.cursor_line import empty_line
from noval_d.agents.record import Recording
from noval_d.agents.sight import Sight, landed, look
from noval_d.agents.spec import fitted, read_spec, write_spec
from noval_d.delivery.gate import Refuse, decide
from noval_d.delivery.view import AgentView
from noval_d.tmux.screen import Screen, parse_screen
from tests.support.screens import recordings

GENERIC = load_drivers(None)["generic"]
OTHERS = sorted(
    entry.name for entry in (resources.files("noval_d.agents") / "drivers").iterdir() if entry.is_dir()
)
SCREENS = {
    f"{driver}/{name}": recording for driver in OTHERS for name, recording in recordings(driver).items()
}
DIALOGS = {name: recording for name, recording in SCREENS.items() if recording.expect.get("dialog")}
TYPED = {"aider/confirm_after_paste"}  # with a text behind it a question is a draft: it holds as well
FAR = {
    "opencode/mode_shell",
    "opencode/mode_shell_home",
}  # empty: the mode, far from the line, is out of sight
DRAFTS = {
    name: recording
    for name, recording in SCREENS.items()
    if recording.expect.get("composer") and name not in FAR
}
IDLE = {
    name: recording
    for name, recording in SCREENS.items()
    if recording.expect.get("composer") == "" and not recording.expect.get("busy")
}


def screen(*rows: str, cursor: tuple[int, int], visible: bool = True) -> Screen:
    lines = [row.encode() for row in rows]
    return parse_screen(lines, cursor_x=cursor[0], cursor_y=cursor[1], cursor_visible=visible)


def composer(*rows: str, cursor: tuple[int, int], visible: bool = True) -> str | None:
    return look(GENERIC, screen(*rows, cursor=cursor, visible=visible)).composer


@pytest.mark.parametrize("name", DIALOGS)
def test_a_dialog_of_any_agent_hides_the_input_line(name: str) -> None:
    seen = look(GENERIC, DIALOGS[name].screen).composer
    assert seen if name in TYPED else seen is None


@pytest.mark.parametrize("name", DRAFTS)
def test_a_draft_of_any_agent_is_never_an_empty_line(name: str) -> None:
    sight = look(GENERIC, DRAFTS[name].screen)
    assert sight.composer != "", DRAFTS[name].expect


def test_nearly_every_idle_screen_of_the_agents_has_an_empty_line() -> None:
    missed = {name for name, recording in IDLE.items() if look(GENERIC, recording.screen).composer != ""}
    # they show the words of a dialog in full, as a quotation or as help, a prompt that only their driver knows, or
    # a placeholder without any colour: it holds rather than guesses
    known = {"claude/dialog_quoted", "claude/shortcuts_shown", "gemini/dialog_quoted", "gemini/mode_yolo"}
    missed -= known | {name for name in missed if name.endswith("_no_color")}
    assert len(missed) < len(IDLE) / 10, missed


@pytest.mark.parametrize(
    ("rows", "cursor"),
    [
        (["> "], (2, 0)),
        (["❯ "], (2, 0)),
        (["text above", "> "], (2, 1)),
        (["│ > \x1b[2mType your message\x1b[0m      │"], (4, 0)),
        (["│ > \x1b[38;5;242mType your message\x1b[39m │"], (4, 0)),
        (["│ > \x1b[38;2;128;128;128mAsk anything\x1b[39m │"], (4, 0)),
        (["  ┃", "  ┃  \x1b[38;2;128;128;128mAsk anything\x1b[39m", "  ┃"], (5, 1)),
        ([">>> "], (4, 0)),
        (["> ", "", "  12% used     a side panel"], (2, 0)),
        (["> " + " " * 60 + "a side panel"], (2, 0)),
    ],
)
def test_a_prompt_with_nothing_behind_it_is_empty(rows: list[str], cursor: tuple[int, int]) -> None:
    assert composer(*rows, cursor=cursor) == ""


@pytest.mark.parametrize(
    ("rows", "cursor", "text"),
    [
        (["> half a thought"], (16, 0), "half a thought"),
        (["> half a thought"], (2, 0), "half a thought"),
        (["> \x1b[38;5;242mgrey but typed\x1b[39m"], (16, 0), "grey but typed"),
        (["> first", ""], (0, 1), "> first"),
        (["┃ first", "┃ "], (2, 1), "first"),
        (["ask> "], (5, 0), "ask>"),
        (["user@host:~$ "], (13, 0), "user@host:~$"),
        (["$ "], (2, 0), "$"),
        (["# "], (2, 0), "#"),
        (["Overwrite it? "], (14, 0), "Overwrite it?"),
    ],
)
def test_anything_else_is_a_draft(rows: list[str], cursor: tuple[int, int], text: str) -> None:
    assert composer(*rows, cursor=cursor) == text


@pytest.mark.parametrize(
    "rows",
    [
        ["Run it? (y/n) "],
        ["Run it? [Y/n]: "],
        ["Add it to git? (Y)es/(N)o [Yes]: "],
        ["❯ 1. Yes", "  2. No"],
        ["│ ● 1. Allow │"],
        ["Proceed", "Press Enter to confirm"],
        ["What now?", "> ", "Esc to cancel"],
        ["Password for kim: "],
        ["> ", "Use arrow keys to select"],
        ["> ", "┃  Shell"],
    ],
)
def test_what_looks_like_a_dialog_has_no_input_line(rows: list[str]) -> None:
    sight = look(GENERIC, screen(*rows, cursor=(len(rows[0]), 0)))
    assert sight.composer is None
    assert sight.dialog


def test_no_cursor_is_no_input_line() -> None:
    assert composer("> ", cursor=(2, 0), visible=False) is None


def test_a_cursor_that_the_program_draws_is_found_bottom_most() -> None:
    assert composer("\x1b[7mx\x1b[27m", "> \x1b[7m \x1b[27m", cursor=(0, 0), visible=False) == ""
    assert composer("> ", "\x1b[7mlong title\x1b[27m", cursor=(0, 0), visible=False) is None


# Learned at the registration ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "cursor", "line"),
    [
        (["ask> "], (5, 0), "ask>"),
        (["Message: "], (9, 0), "Message:"),
        (["", ""], (0, 1), None),
        (["Overwrite it? "], (14, 0), None),
        (["half a thought"], (14, 0), None),
        (["user@host:~$ "], (13, 0), None),
        (["Run it? (y/n) "], (14, 0), None),
        (["> half a thought", ""], (0, 1), None),
    ],
)
def test_a_line_is_learned_as_empty_only_if_it_ends_like_a_prompt(
    rows: list[str], cursor: tuple[int, int], line: str | None
) -> None:
    assert empty_line(GENERIC, screen(*rows, cursor=cursor)) == line


def test_a_learned_line_is_empty_from_then_on_and_outlives_the_daemon() -> None:
    shown = screen("ask> ", cursor=(5, 0))
    spec = AgentSpec(agent_id=AgentId("a"), driver="generic", program="x", empty=empty_line(GENERIC, shown))
    kept = read_spec("a", write_spec(spec))
    assert kept is not None
    assert look(fitted(GENERIC, kept), shown).composer == ""
    assert look(fitted(GENERIC, kept), screen("ask> hello", cursor=(10, 0))).composer == "ask> hello"
    assert look(GENERIC, shown).composer == "ask>"


# Landed ---------------------------------------------------------------------------------------------------


def sees(line: str, *above: str) -> Sight:
    return Sight(composer=line, near="\n".join([*above, line]), pasted="[Pasted" in line)


@pytest.mark.parametrize(
    ("typed", "sight"),
    [
        ("[nova] hello there, how are you ", sees("[nova] hello there, how are you")),
        ("one\ntwo two two two\nthree three ", sees("three three", "> one", "two two two two")),
        ("x" * 100 + " " + "y" * 60 + " ", sees("y" * 60, "x" * 100)),
        ("ok ", sees("ok")),
        ("line\n" * 40, sees("[Pasted text #1 +40 lines]")),
    ],
)
def test_a_text_has_landed_when_the_line_and_those_above_hold_it(typed: str, sight: Sight) -> None:
    assert landed(GENERIC, sight, typed)


@pytest.mark.parametrize(
    ("typed", "sight"),
    [
        ("please remove the old files ", sees("Overwrite it? ", "> please remove the old files")),
        ("please remove the old files ", sees("", "please remove the old files")),
        ("please remove the old files ", sees("remove")),
        ("ok ", sees("ok go")),
    ],
)
def test_a_question_below_our_text_is_not_our_text(typed: str, sight: Sight) -> None:
    assert not landed(GENERIC, sight, typed)


@given(line=st.text(max_size=40), typed=st.text(min_size=1, max_size=80))
def test_a_line_that_is_no_piece_of_the_text_never_counts_as_landed(line: str, typed: str) -> None:
    if any(char.isalnum() and char not in typed for char in line) and typed.isascii() and line.isascii():
        assert not landed(GENERIC, sees(line, typed), typed)


@pytest.mark.parametrize("body", ["Shall I? (y/n)", "one\n❯ 2. No \ntwo", "press enter to confirm"])
def test_a_text_that_would_look_like_a_dialog_is_refused_before_it_is_typed(body: str) -> None:
    message = Message(
        id=MessageId("01JD3ZK8Q5W9X2Y4V6B8N0M1P3"), sender="user:kim", target="a", body=body, created_ms=1
    )
    decision = decide(message, AgentView(driver=GENERIC, facts=None), 0)
    assert isinstance(decision, Refuse)
    assert decision.state is State.FAILED
    assert "looks like a dialog" in decision.reason


@given(rows=st.lists(st.text(max_size=30), min_size=1, max_size=6), x=st.integers(0, 40), y=st.integers(0, 8))
def test_no_screen_makes_it_raise(rows: list[str], x: int, y: int) -> None:
    look(GENERIC, screen(*rows, cursor=(x, y)))
    empty_line(GENERIC, screen(*rows, cursor=(x, y), visible=False))


def test_there_are_screens_to_look_at() -> None:
    assert len(DIALOGS) > 10
    assert len(DRAFTS) > 10
    assert all(isinstance(recording, Recording) for recording in SCREENS.values())
