from __future__ import annotations

from dataclasses import replace

import pytest

from nova_torch.errors import Conflict, InvalidRequest
from novactl.commands.panes import attach_argv
from noval_d.agents.dialogs import Dialog, choose, read_dialog
from noval_d.agents.record import Recording
from tests.support.screens import CLAUDE, CLAUDE_SCREENS


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
