from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noval_d.agents.driver import Driver
from noval_d.agents.record import expectation
from noval_d.agents.sight import Sight, guard_text, landed, look
from noval_d.tmux.screen import Screen, parse_screen
from tests.support.screens import CLAUDE, CLAUDE_SCREENS, DRIVERS, misjudged

NEVER = re.compile(r"(?!)")
RULE = "─" * 40


def seen(name: str) -> Sight:
    return look(CLAUDE, CLAUDE_SCREENS[name].screen)


def screen_of(*rows: str, cursor: tuple[int, int], title: str = "✳ Claude Code") -> Screen:
    lines = [row.encode() for row in rows]
    return parse_screen(lines, cursor_x=cursor[0], cursor_y=cursor[1], cursor_visible=False, title=title)


# Every screen ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLAUDE_SCREENS)
def test_a_recorded_screen_is_seen_as_expected(name: str) -> None:
    assert expectation(seen(name)) == CLAUDE_SCREENS[name].expect


@pytest.mark.parametrize("name", CLAUDE_SCREENS)
def test_a_screen_never_has_a_composer_and_a_dialog(name: str) -> None:
    sight = seen(name)
    assert sight.composer is None or sight.dialog is None
    assert bool(sight.reason) == (sight.composer is None)


@pytest.mark.parametrize(
    "prefix", ["permission", "ask", "plan_approval", "trust", "bypass", "api_key", "resume", "command", "btw"]
)
def test_what_waits_for_an_answer_is_a_dialog_with_its_question(prefix: str) -> None:
    dialogs = [seen(name) for name in CLAUDE_SCREENS if name.startswith(prefix)]
    assert dialogs
    assert all(sight.dialog and sight.composer is None for sight in dialogs)


@pytest.mark.parametrize("prefix", ["agents_view", "history_search", "transcript_mode", "start_blank"])
def test_another_view_has_no_composer(prefix: str) -> None:
    others = [seen(name) for name in CLAUDE_SCREENS if name.startswith(prefix)]
    assert others
    assert all(sight.composer is None for sight in others)


@pytest.mark.parametrize(
    "prefix", ["draft", "themedraft", "slash", "file", "hash", "shell_mode", "history_up"]
)
def test_what_somebody_typed_is_never_an_empty_composer(prefix: str) -> None:
    drafts = [seen(name) for name in CLAUDE_SCREENS if name.startswith(prefix)]
    assert drafts
    assert all(sight.composer for sight in drafts)


@pytest.mark.parametrize(
    "prefix", ["ghost_try", "theme_", "busy_queued_two", "idle", "start_first_paint", "vim_n"]
)
def test_a_ghost_is_not_what_somebody_typed(prefix: str) -> None:
    empty = [seen(name) for name in CLAUDE_SCREENS if name.startswith(prefix) and "pasted" not in name]
    assert empty
    assert all(sight.composer == "" for sight in empty)


# Every pattern --------------------------------------------------------------------------------------------


def _mutants() -> dict[str, Driver]:
    change: Any = replace
    mutants: dict[str, Driver] = {
        "composer.rule": replace(CLAUDE, rule=NEVER),
        "composer.rule without labels": replace(CLAUDE, rule=re.compile("^─{10}")),
        "composer.rule_dim": replace(CLAUDE, rule_dim=None),
        "composer.indent": replace(CLAUDE, indent=4),
        "title.busy": replace(CLAUDE, title_busy=None),
        "title.elsewhere": replace(CLAUDE, title_elsewhere=None),
        "paste.marker": replace(CLAUDE, marker=NEVER),
        "limit.over": replace(CLAUDE, limit_over=None),
        "limit.rows": replace(CLAUDE, limit_rows=1),
        "dialog.rows": replace(CLAUDE, dialog_rows=1),
    }
    for key, field in (
        ("composer.prompts", "prompts"),
        ("composer.modes", "modes"),
        ("dialog.patterns", "dialogs"),
        ("busy.patterns", "busy"),
        ("dialog.marks", "dialog_marks"),
        ("limit.patterns", "limits"),
        ("compacting.patterns", "compacting"),
    ):
        values = getattr(CLAUDE, field)
        for value in values:
            rest = tuple(other for other in values if other != value)
            mutants[f"{key} without {getattr(value, 'pattern', value)}"] = change(CLAUDE, **{field: rest})
    return mutants


MUTANTS = _mutants()


@pytest.mark.parametrize("name", [name for name in MUTANTS if not name.startswith("dialog.marks")])
def test_without_a_pattern_some_screen_is_misjudged(name: str) -> None:
    assert misjudged(MUTANTS[name])


def test_the_driver_itself_misjudges_no_screen() -> None:
    assert misjudged(CLAUDE) == []


@pytest.mark.parametrize("mark", CLAUDE.dialog_marks)
def test_a_mark_stands_on_screens_of_dialogs_and_on_none_of_the_composers(mark: str) -> None:
    with_mark = {name for name in CLAUDE_SCREENS if mark not in seen(name).absent_marks}
    assert {"permission_bash", "permission_edit"} <= with_mark
    quoting = {
        name for name in CLAUDE_SCREENS if name.startswith(("busy", "idle_after_queue")) or "quoted" in name
    }
    assert {name for name in with_mark - quoting if seen(name).composer is not None} == set()


# Screens nobody recorded ----------------------------------------------------------------------------------


def test_a_dialog_quoted_above_the_composer_is_no_dialog() -> None:
    sight = seen("dialog_quoted")
    assert (sight.composer, sight.dialog) == ("", None)


def test_a_composer_quoted_in_the_output_is_not_taken_for_the_real_one() -> None:
    rows = [RULE, "❯ quoted", RULE, "", " Do you want to proceed?", " ❯ 1. Yes", "", " Esc to cancel"]
    sight = look(CLAUDE, screen_of(*rows, cursor=(1, 5)))
    assert (sight.composer, sight.dialog) == (None, "Do you want to proceed?")


def test_a_draft_that_looks_like_a_dialog_is_a_draft() -> None:
    rows = [RULE, "❯ Do you want to", "  ❯ 1. Yes", "  Esc to cancel", "  " + RULE, RULE, "  footer"]
    sight = look(CLAUDE, screen_of(*rows, cursor=(3, 3)))
    assert sight.composer is not None
    assert sight.composer.startswith("Do you want to")
    assert sight.dialog is None


def test_blanks_alone_are_no_draft() -> None:
    assert look(CLAUDE, screen_of(RULE, "❯\u00a0   ", "   ", RULE, cursor=(5, 1))).composer == ""


def test_a_box_without_the_cursor_is_no_composer() -> None:
    assert look(CLAUDE, screen_of(RULE, "❯ ", RULE, "  search: ", cursor=(10, 3))).composer is None


def test_the_cursor_on_a_rule_is_in_no_composer() -> None:
    assert look(CLAUDE, screen_of(RULE, "❯ ", RULE, cursor=(0, 2))).composer is None


def test_a_driver_may_ask_for_a_visible_cursor() -> None:
    driver = replace(CLAUDE, cursor_visible=True)
    assert look(driver, screen_of(RULE, "❯ ", RULE, cursor=(2, 1))).composer is None


def test_a_driver_may_name_the_colours_of_its_ghosts() -> None:
    screen = screen_of(RULE, "❯ \x1b[38;5;246mghost\x1b[0m", RULE, cursor=(2, 1))
    assert look(CLAUDE, screen).composer == "ghost"
    assert look(replace(CLAUDE, ghosts=frozenset({"246"})), screen).composer == ""


def test_the_line_driver_sees_no_composer_anywhere() -> None:
    sight = look(DRIVERS["line"], CLAUDE_SCREENS["idle"].screen)
    assert (sight.composer, sight.dialog) == (None, None)


@given(
    st.lists(st.text(), max_size=12),
    st.integers(-1, 13),
    st.integers(-1, 90),
    st.text(max_size=20),
    st.booleans(),
)
def test_no_screen_makes_it_raise(rows: list[str], y: int, x: int, title: str, ruled: bool) -> None:
    rows = [RULE if ruled and index % 3 == 0 else row for index, row in enumerate(rows)]
    lines = [row.encode("utf-8", "replace") for row in rows]
    screen = parse_screen(lines, cursor_x=x, cursor_y=y, cursor_visible=True, title=title)
    for driver in DRIVERS.values():
        sight = look(driver, screen)
        landed(driver, sight, "text")
        guard_text(sight, "text")


def test_a_sight_prints_itself_without_what_was_typed() -> None:
    assert repr(seen("busy_queued_draft")) == "<Sight composer=18 chars busy>"
    assert "Do you want to proceed?" in repr(seen("permission_bash"))
