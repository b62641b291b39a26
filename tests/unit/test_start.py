"""How an agent is started: its argument vector, and the dialogs of its start on recorded screens."""

from __future__ import annotations

import pytest

from noval_d.agents.start import Start, known_dialog, start_argv
from tests.support.screens import DRIVERS, recordings

SCREENS = {name: recordings(name) for name in DRIVERS}
START = Start(command=("agent",), prompt=("--ask={prompt}",), resume=("--resume", "{session}"))
DIALOGS = [(name, dialog.name) for name, driver in DRIVERS.items() for dialog in driver.start.dialogs]


@pytest.mark.parametrize(("driver", "dialog"), DIALOGS, ids=str)
def test_a_dialog_of_a_start_has_a_recorded_screen_and_is_on_no_screen_with_a_composer(
    driver: str, dialog: str
) -> None:
    kind = DRIVERS[driver]
    found = {
        name
        for name, recording in SCREENS[driver].items()
        if (known := known_dialog(kind.start, recording.screen, kind.dialog_rows)) and known.name == dialog
    }
    assert found
    assert [name for name in found if SCREENS[driver][name].expect.get("composer") is not None] == []


@pytest.mark.parametrize(
    ("screen", "dialog"),
    [("trust_dialog", "trust"), ("api_key_question", "api-key"), ("bypass_warning", "bypass")],
)
def test_claude_s_dialogs_of_its_start_are_told_apart(screen: str, dialog: str) -> None:
    claude = DRIVERS["claude"]
    found = known_dialog(claude.start, SCREENS["claude"][screen].screen, claude.dialog_rows)
    assert found is not None
    assert found.name == dialog


@pytest.mark.parametrize("screen", ["permission_bash", "permission_edit", "plan_approval", "dialog_quoted"])
def test_a_permission_is_no_dialog_of_a_start(screen: str) -> None:
    claude = DRIVERS["claude"]
    assert known_dialog(claude.start, SCREENS["claude"][screen].screen, claude.dialog_rows) is None


def test_the_prompt_stands_on_the_command_line_as_it_is() -> None:
    prompt = "$(touch x) `y` 'z' \"q\" {session}"
    assert start_argv(START, (), prompt=prompt, session=None) == (["agent", f"--ask={prompt}"], True)


@pytest.mark.parametrize(
    ("words", "carried"),
    [
        (("{prompt}",), False),
        (("--ask", "{prompt}"), False),
        (("--", "{prompt}"), True),
        (("--ask={prompt}",), True),
    ],
)
def test_a_prompt_that_looks_like_an_option_never_becomes_one(words: tuple[str, ...], carried: bool) -> None:
    start = Start(command=("agent",), prompt=words)
    argv, told = start_argv(start, (), prompt="--dangerously-skip-permissions", session=None)
    assert told is carried
    assert ("--dangerously-skip-permissions" in "".join(argv)) is carried


def test_an_owners_command_replaces_that_of_the_driver() -> None:
    assert start_argv(START, ("my agent", "-v"), prompt=None, session=None) == (["my agent", "-v"], False)


def test_a_session_that_is_resumed_has_had_its_prompt() -> None:
    argv = start_argv(START, (), prompt="hello", session="s-1")
    assert argv == (["agent", "--resume", "s-1"], False)


def test_an_agent_that_takes_no_prompt_and_no_session_is_started_plainly() -> None:
    assert start_argv(Start(command=("a",)), (), prompt="hello", session="s-1") == (["a"], False)
