from __future__ import annotations

from dataclasses import replace

import pytest

from nova_torch.errors import Conflict, InvalidRequest
from novactl.commands.panes import attach_argv
from noval_d.agents.dialogs import Dialog, choose, read_dialog
from noval_d.agents.record import Recording
from tests.support.screens import CLAUDE, CLAUDE_SCREENS, DRIVERS, recordings


def dialog(name: str, **texts: str) -> Dialog:
    """Return the dialog of a recorded screen, with some of its text replaced."""
    recording: Recording = CLAUDE_SCREENS[name]
    lines = list(recording.lines)
    for old, new in texts.items():
        lines = [line.replace(old.replace("_", " ").encode(), new.encode()) for line in lines]
    found = read_dialog(CLAUDE, replace(recording, lines=tuple(lines)).screen)
    assert found is not None
    return found


def keys(name: str) -> list[str]:
    return [option.key for option in dialog(name).options]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("permission_bash", ["Yes", "Yes, and always allow access to project/ from this project", "No"]),
        ("permission_edit", ["Yes", "Yes, allow all edits during this session (shift+tab)", "No"]),
        ("permission_tall", ["Yes", "Yes, allow all edits during this session (shift+tab)", "No"]),
        ("plan_approval", ["Yes", "No"]),
        ("trust_dialog", ["Yes, I trust this folder", "No, exit"]),
        ("bypass_warning", ["No, exit", "Yes, I accept"]),
        ("ask_user_question", ["Red", "Blue", "Type something.", "Chat about this"]),
        ("ask_many", ["[ ] Red", "[ ] Blue", "[ ] Type something", "Chat about this"]),
        ("limit_dialog", ["Stop and wait for limit to reset", "Upgrade your plan"]),
    ],
)
def test_the_options_of_a_recorded_dialog_are_read(name: str, options: list[str]) -> None:
    found = dialog(name)
    assert [option.text for option in found.options] == options
    assert keys(name) == [str(number + 1) for number in range(len(options))]
    assert sum(option.chosen for option in found.options) == 1


@pytest.mark.parametrize("name", ["btw", "command_help", "resume_picker", "command_config"])
def test_options_that_are_no_list_for_sure_are_none(name: str) -> None:
    found = dialog(name)
    assert found.options == ()
    with pytest.raises(InvalidRequest, match="cannot be read"):
        choose(found, "1")


@pytest.mark.parametrize("name", ["idle", "busy", "dialog_quoted", "draft_many_lines", "limit_reached"])
def test_without_an_open_dialog_there_is_none_to_answer(name: str) -> None:
    assert read_dialog(CLAUDE, CLAUDE_SCREENS[name].screen) is None


def test_a_list_within_what_is_asked_about_is_not_the_options() -> None:
    recording = CLAUDE_SCREENS["permission_edit"]
    lines = [line.replace(b"one", b"1. First").replace(b"two", b"2. Second") for line in recording.lines]
    found = read_dialog(CLAUDE, replace(recording, lines=tuple(lines)).screen)
    assert found is not None
    assert found.options[0].text == "Yes"
    assert len(found.options) == 3


# -- other agents --


def other(driver: str, name: str, **texts: str) -> Dialog:
    """Return the dialog of a recorded screen of another agent, with some of its text replaced."""
    recording = recordings(driver)[name]
    lines = list(recording.lines)
    for old, new in texts.items():
        lines = [line.replace(old.replace("_", " ").encode(), new.encode()) for line in lines]
    found = read_dialog(DRIVERS[driver], replace(recording, lines=tuple(lines)).screen)
    assert found is not None
    return found


CODEX = {
    "1": "Yes, proceed (y)",
    "2": "Yes, and don't ask again for commands that start with `touch toolran` (p)",
    "3": "No, and tell Codex what to do differently (esc)",
}
OPENCODE = {"1": "Allow once", "2": "Allow always", "3": "Reject"}
AIDER = {"Y": "Yes", "N": "No", "D": "Don't ask again"}


@pytest.mark.parametrize(
    ("driver", "name", "options", "chosen"),
    [
        ("codex", "approval_exec", CODEX, "1"),
        ("codex", "approval_80x24", CODEX, "1"),
        ("codex", "trust_dialog", {"1": "Trust and continue", "2": "Back to Agent Command Center"}, "1"),
        ("opencode", "permission_bash", OPENCODE, "1"),
        ("opencode", "permission_80x24", OPENCODE, "1"),
        ("opencode", "permission_always", {"1": "Confirm", "2": "Cancel"}, "1"),
        ("aider", "confirm_url", AIDER, ""),
        ("aider", "confirm_again", AIDER, ""),
    ],
)
def test_the_options_of_other_agents_are_read(
    driver: str, name: str, options: dict[str, str], chosen: str
) -> None:
    found = other(driver, name).options
    assert {option.key: option.text for option in found} == options
    assert "".join(option.key for option in found if option.chosen) == chosen


@pytest.mark.parametrize("field", ["dialog_option", "dialog_next", "dialog_answer"])
@pytest.mark.parametrize("driver", ["codex", "opencode", "aider"])
def test_the_keys_that_answer_are_told_by_the_driver(driver: str, field: str) -> None:
    assert bool(getattr(DRIVERS[driver], field)) is (field != "dialog_next" or driver == "opencode")


@pytest.mark.parametrize(
    ("driver", "name", "choice", "key"),
    [
        ("codex", "approval_exec", "no", "3"),
        ("codex", "approval_exec", "Yes, proceed", "1"),
        ("opencode", "permission_bash", "reject", "3"),
        ("opencode", "permission_bash", "2", "2"),
        ("aider", "confirm_url", "no", "N"),
        ("aider", "confirm_url", "y", "Y"),
        ("aider", "confirm_url", "don't", "D"),
    ],
)
def test_an_option_of_other_agents_is_named_in_the_same_ways(
    driver: str, name: str, choice: str, key: str
) -> None:
    assert choose(other(driver, name), choice).key == key


def test_a_question_of_aider_with_something_typed_behind_it_has_no_options() -> None:
    """Its letter would not be the whole answer."""
    assert other("aider", "confirm_after_paste").options == ()


def test_a_question_of_aider_that_was_answered_is_open_no_longer() -> None:
    asked = recordings("aider")["confirm_url"]
    row = asked.cursor_y
    lines = (*asked.lines[:row], asked.lines[row].rstrip() + b" y", b"")
    answered = replace(asked, lines=lines, cursor_x=0, cursor_y=row + 1, rows=asked.rows + 1).screen
    assert read_dialog(DRIVERS["aider"], answered) is None
    assert read_dialog(replace(DRIVERS["aider"], dialog_at_cursor=False), answered) is not None


@pytest.mark.parametrize("columns", [30, 50])
def test_a_question_of_aider_that_a_narrow_pane_breaks_is_open(columns: int) -> None:
    question = "Add URL to the chat? (Y)es/(N)o/(D)on't ask again [Yes]: "
    asked = recordings("aider")["confirm_url"]
    lines = (b"", question[:columns].encode(), question[columns:].encode())
    shown = replace(asked, lines=lines, cursor_x=len(question) - columns, cursor_y=2, rows=3).screen
    found = read_dialog(DRIVERS["aider"], shown)
    assert found is not None
    assert found.question == question.strip()


def test_a_permission_of_opencode_without_a_mark_has_no_options() -> None:
    recording = recordings("opencode")["permission_bash"]
    lines = tuple(line.replace(b"48;2;245;167;66", b"48;2;30;30;30") for line in recording.lines)
    found = read_dialog(DRIVERS["opencode"], replace(recording, lines=lines).screen)
    assert found is not None
    assert found.options == ()


@pytest.mark.parametrize(
    ("driver", "name", "old", "new"),
    [
        ("codex", "approval_exec", "touch", "chmod"),
        ("opencode", "permission_bash", "$_touch_toolran", "$ rm -rf work"),
        ("aider", "confirm_url", "http://127.0.0.1:9/x", "http://127.0.0.1:9/y"),
        ("aider", "confirm_again", "http://127.0.0.1:9/x", "http://127.0.0.1:9/y"),
    ],
)
def test_what_is_asked_about_makes_another_dialog_of_it(driver: str, name: str, old: str, new: str) -> None:
    assert other(driver, name).question == other(driver, name, **{old: new}).question
    assert other(driver, name).fingerprint != other(driver, name, **{old: new}).fingerprint


@pytest.mark.parametrize(("driver", "name"), [("codex", "approval_exec"), ("opencode", "permission_bash")])
def test_what_stands_above_a_dialog_without_rules_does_not_make_another_one(driver: str, name: str) -> None:
    assert other(driver, name).fingerprint == other(driver, name, STUB="DONE").fingerprint
    assert "STUB-OK" not in "".join(other(driver, name).rows)


@pytest.mark.parametrize(
    ("driver", "name"),
    [("codex", "approval_exec"), ("opencode", "permission_bash"), ("aider", "confirm_url")],
)
def test_every_piece_that_tmux_looks_for_stands_on_the_screen_as_it_is(driver: str, name: str) -> None:
    shown = [row.text for row in recordings(driver)[name].screen.rows]
    found = other(driver, name)
    pieces = [*found.pieces, *(option.piece for option in found.options)]
    assert all(any(piece in row for row in shown) for piece in pieces)


def test_two_blanks_in_a_command_do_not_keep_its_dialog_from_being_answered() -> None:
    found = dialog("permission_bash", touch_toolran="touch  toolran")
    assert "touch toolran" not in found.pieces


# -- which dialog it is --


def test_another_command_is_another_dialog_although_the_question_is_the_same() -> None:
    one, other = dialog("permission_bash"), dialog("permission_bash", touch_toolran="rm -rf project")
    assert one.question == other.question
    assert one.fingerprint != other.fingerprint


def test_the_cursor_and_what_stands_above_do_not_make_another_dialog() -> None:
    recording = CLAUDE_SCREENS["permission_bash"]
    text = b"\n".join(recording.lines).decode()
    moved = text.replace("❯ 1.", "  1.", 1).replace("  3. No", "❯ 3. No")
    found = read_dialog(CLAUDE, replace(recording, lines=tuple(moved.encode().split(b"\n"))).screen)
    assert found is not None
    assert found.options[2].chosen or found.options[0].chosen
    assert found.fingerprint == dialog("permission_bash").fingerprint
    assert dialog("permission_bash_after_paste").fingerprint == found.fingerprint


def test_tmux_looks_for_the_command_that_is_asked_about() -> None:
    assert "touch toolran" in dialog("permission_bash").pieces


# -- which option is meant --


@pytest.mark.parametrize(
    ("choice", "key"), [("1", "1"), ("3", "3"), ("No", "3"), ("n", "3"), ("yes", "1"), ("Yes, and", "2")]
)
def test_an_option_is_named_by_its_key_its_text_or_the_beginning_of_it(choice: str, key: str) -> None:
    assert choose(dialog("permission_bash"), choice).key == key


@pytest.mark.parametrize("choice", ["4", "y", "", "maybe", "Yes, and not", "0"])
def test_a_choice_that_means_no_option_or_several_is_refused_with_the_options(choice: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        choose(dialog("permission_bash"), choice)
    assert "1. Yes" in caught.value.hint


# -- novactl attach --

PLACE = {"agent_id": "a", "tmux": "/run/tmux.sock", "pane": "%3", "session": "my work", "window": 2}


def test_attach_names_the_pane_by_its_number_and_the_session_exactly() -> None:
    argv = attach_argv(PLACE, None)
    assert argv[:4] == ["tmux", "-u", "-S", "/run/tmux.sock"]
    assert argv[-3:] == ["attach-session", "-t", "=my work"]
    assert "%3" in argv


def test_attach_within_the_same_server_switches_and_within_another_is_refused() -> None:
    assert attach_argv(PLACE, "/run/tmux.sock,12,0")[-3:] == ["switch-client", "-t", "%3"]
    with pytest.raises(Conflict, match="another tmux server"):
        attach_argv(PLACE, "/tmp/other,12,0")
