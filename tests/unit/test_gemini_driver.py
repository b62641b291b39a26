"""Gemini CLI's recorded screens: each is seen as expected, and no pattern is there without one that needs it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from noval_d.agents.dialogs import read_dialog
from noval_d.agents.driver import Driver
from noval_d.agents.recognition import claims
from noval_d.agents.record import expectation
from noval_d.agents.sight import Sight, is_rest, landed, look
from tests.support.screens import DRIVERS, recordings

GEMINI = DRIVERS["gemini"]
SCREENS = recordings("gemini")
NEVER = re.compile(r"(?!)")
MARKED = "approval"


def seen(name: str, driver: Driver = GEMINI) -> Sight:
    return look(driver, SCREENS[name].screen)


def misjudged(driver: Driver) -> list[str]:
    return [name for name in SCREENS if expectation(seen(name, driver)) != SCREENS[name].expect]


def test_every_recorded_screen_is_seen_as_expected() -> None:
    assert len(SCREENS) > 60
    assert misjudged(GEMINI) == []


@pytest.mark.parametrize("name", SCREENS)
def test_a_screen_never_has_a_composer_and_a_dialog(name: str) -> None:
    sight = seen(name)
    assert sight.composer is None or sight.dialog is None
    assert bool(sight.reason) == (sight.composer is None)


@pytest.mark.parametrize("prefix", ["approval", "trust_dialog", "auth", "command_auth", "command_model"])
def test_what_waits_for_an_answer_is_a_dialog(prefix: str) -> None:
    dialogs = [seen(name) for name in SCREENS if name.startswith(prefix)]
    assert dialogs
    assert all(sight.dialog for sight in dialogs)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("approval_shell", ["Allow once", "Allow for this session", "No, suggest changes (esc)"]),
        ("approval_80x24", ["Allow once", "Allow for this session", "No, suggest changes (esc)"]),
        ("auth_dialog", ["Sign in with Google", "Use Gemini API Key", "Vertex AI"]),
        ("trust_dialog", ["Trust folder (the-work-folder)", "Trust parent folder (tmp)", "Don't trust"]),
    ],
)
def test_the_options_of_a_dialog_are_read(name: str, options: list[str]) -> None:
    dialog = read_dialog(GEMINI, SCREENS[name].screen)
    assert dialog is not None
    assert [option.text for option in dialog.options] == options
    assert [option.chosen for option in dialog.options] == [True, False, False]


@pytest.mark.parametrize("prefix", ["draft", "slash", "file", "shell_mode", "history_up", "vim", "pasted"])
def test_what_somebody_typed_and_shell_mode_are_never_an_empty_composer(prefix: str) -> None:
    drafts = [seen(name) for name in SCREENS if name.startswith(prefix)]
    assert drafts
    assert all(sight.composer for sight in drafts)


@pytest.mark.parametrize("prefix", ["idle", "busy_queued", "start_first_paint", "mode", "trust_after"])
def test_a_placeholder_is_not_what_somebody_typed(prefix: str) -> None:
    empty = [seen(name) for name in SCREENS if name.startswith(prefix)]
    assert empty
    assert all(sight.composer == "" for sight in empty)


def test_it_is_busy_on_exactly_the_screens_of_work() -> None:
    assert {name for name in SCREENS if seen(name).busy} == {n for n in SCREENS if n.startswith("busy")}


def _mutants() -> dict[str, Driver]:
    change: Any = replace
    mutants: dict[str, Driver] = {
        "composer.rule": replace(GEMINI, rule=NEVER),
        "composer.rule without lines": replace(GEMINI, rule=re.compile("^[▄▀]{3}")),
        "composer.indent": replace(GEMINI, indent=2),
        "composer.placeholder": replace(GEMINI, placeholder=None),
        "title.busy": replace(GEMINI, title_busy=None),
        "busy.above": replace(GEMINI, busy_above=0),
        "paste.marker": replace(GEMINI, marker=NEVER),
        "dialog.rows": replace(GEMINI, dialog_rows=3),
        "limit.over": replace(GEMINI, limit_over=None),
        "compacting.alone": replace(GEMINI, compacting_alone=False),
    }
    for key, field in (
        ("composer.prompts", "prompts"),
        ("composer.modes", "modes"),
        ("dialog.patterns", "dialogs"),
        ("busy.patterns", "busy"),
        ("limit.patterns", "limits"),
        ("limit.waits", "limit_waits"),
        ("compacting.patterns", "compacting"),
    ):
        values = getattr(GEMINI, field)
        for value in values:
            rest = tuple(other for other in values if other != value)
            mutants[f"{key} without {getattr(value, 'pattern', value)}"] = change(GEMINI, **{field: rest})
    return mutants


MUTANTS = _mutants()


@pytest.mark.parametrize("name", MUTANTS)
def test_without_a_pattern_some_screen_is_misjudged(name: str) -> None:
    assert misjudged(MUTANTS[name])


@pytest.mark.parametrize("mark", GEMINI.dialog_marks)
def test_a_mark_stands_on_some_screen_and_on_no_idle_one(mark: str) -> None:
    marked = {name for name in SCREENS if mark not in seen(name).absent_marks}
    assert marked
    idle = {name for name in marked if seen(name).composer is not None and not seen(name).busy}
    assert idle <= {"dialog_quoted"}


@pytest.mark.parametrize(
    ("screen", "typed"),
    [
        ("pasted_marker", "\n".join(f"line {n}" for n in range(20))),
        ("pasted_marker_chars", "word " * 120),
        ("pasted_marker_chars", "\U0001f600" * 300),
    ],
)
def test_a_marker_stands_for_a_paste_of_its_size_only(screen: str, typed: str) -> None:
    assert landed(GEMINI, seen(screen), typed)
    assert is_rest(GEMINI, seen(screen), typed)
    assert not landed(GEMINI, seen(screen), typed + "\nmore")


@pytest.mark.parametrize(
    ("argv", "claimed"),
    [
        (("node", "/usr/local/bin/gemini"), True),
        (("/usr/bin/node", "--max-old-space-size=4096", "/opt/bin/gemini", "-i", "hello"), True),
        (("node", "/opt/node_modules/@google/gemini-cli/bundle/gemini.js"), True),
        (("node", "/home/me/gemini-notes/server.js"), False),
        (("node", "server.js"), False),
    ],
)
def test_behind_node_its_command_line_tells(argv: tuple[str, ...], claimed: bool) -> None:
    assert claims(GEMINI, "node", argv) is claimed
