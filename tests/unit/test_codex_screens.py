"""Codex's screens are seen as they are, and every pattern of its driver is needed by one of them."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from noval_d.agents.driver import Driver
from noval_d.agents.record import expectation
from noval_d.agents.sight import Sight, guard_text, landed, look
from noval_d.agents.start import known_dialog
from noval_d.tmux.screen import Screen, parse_screen
from tests.support.screens import DRIVERS, recordings

CODEX = DRIVERS["codex"]
SCREENS = recordings("codex")
NEVER = re.compile(r"(?!)")
GLYPH = "\x1b[1m›\x1b[0m "
FOOTER = ("", "  stub-model default · /tmp/folder", "  \x1b[1m?\x1b[0m for shortcuts")


def seen(name: str) -> Sight:
    return look(CODEX, SCREENS[name].screen)


def misjudged(driver: Driver) -> list[str]:
    return [name for name, r in SCREENS.items() if expectation(look(driver, r.screen)) != r.expect]


def screen_of(*rows: str, cursor: tuple[int, int]) -> Screen:
    lines = [row.encode() for row in rows]
    return parse_screen(lines, cursor_x=cursor[0], cursor_y=cursor[1], cursor_visible=True, title="folder")


@pytest.mark.parametrize("name", SCREENS)
def test_a_recorded_screen_is_seen_as_expected(name: str) -> None:
    assert expectation(seen(name)) == SCREENS[name].expect


@pytest.mark.parametrize("name", SCREENS)
def test_a_screen_never_has_a_composer_and_a_dialog(name: str) -> None:
    sight = seen(name)
    assert sight.composer is None or sight.dialog is None
    assert bool(sight.reason) == (sight.composer is None)


@pytest.mark.parametrize(
    "prefix", ["approval", "trust", "hooks_dialog", "command_model", "command_permissions"]
)
def test_what_waits_for_an_answer_is_a_dialog(prefix: str) -> None:
    dialogs = [seen(name) for name in SCREENS if name.startswith(prefix)]
    assert dialogs
    assert all(sight.dialog and sight.composer is None for sight in dialogs)


@pytest.mark.parametrize(
    "prefix",
    ["agents_view", "warnings_view", "command_resume", "resume_locked", "double_escape", "history_s"],
)
def test_another_view_has_no_composer(prefix: str) -> None:
    others = [seen(name) for name in SCREENS if name.startswith(prefix)]
    assert others
    assert all(sight.composer is None for sight in others)


@pytest.mark.parametrize("prefix", ["draft", "slash", "file", "skill", "shell_mode", "history_up", "pasted"])
def test_what_somebody_typed_is_never_an_empty_composer(prefix: str) -> None:
    drafts = [seen(name) for name in SCREENS if name.startswith(prefix)]
    assert drafts
    assert all(sight.composer for sight in drafts)


@pytest.mark.parametrize(
    "prefix", ["idle", "start_first_paint", "busy_queued", "busy_steered", "dialog_quoted"]
)
def test_a_ghost_is_not_what_somebody_typed(prefix: str) -> None:
    empty = [seen(name) for name in SCREENS if name.startswith(prefix)]
    assert empty
    assert all(sight.composer == "" for sight in empty)


MUTANTS = {
    "prompts": replace(CODEX, prompts=("»",)),
    "modes": replace(CODEX, modes=()),
    "indent": replace(CODEX, indent=3),
    "cursor_visible": replace(CODEX, cursor_visible=None),
    "dialogs": replace(CODEX, dialogs=()),
    "dialog_rows": replace(CODEX, dialog_rows=2),
    "title_busy": replace(CODEX, title_busy=None),
    "pending": replace(CODEX, pending=()),
    "marker": replace(CODEX, marker=NEVER),
    "limit_over": replace(CODEX, limit_over=None),
    **{
        f"limits without {pattern.pattern}": replace(
            CODEX, limits=tuple(other for other in CODEX.limits if other is not pattern)
        )
        for pattern in CODEX.limits
    },
    **{f"compacting {n}": replace(CODEX, compacting=()) for n, _ in enumerate(CODEX.compacting)},
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_without_a_pattern_some_screen_is_misjudged(mutant: Driver) -> None:
    assert misjudged(mutant)


@pytest.mark.parametrize("mark", CODEX.dialog_marks)
def test_a_mark_stands_on_screens_of_dialogs_and_on_none_of_the_composers(mark: str) -> None:
    with_mark = {name for name in SCREENS if mark not in seen(name).absent_marks}
    assert "approval_exec" in with_mark
    quoting = {"dialog_quoted", "draft_like_a_dialog"}
    assert {name for name in with_mark - quoting if seen(name).composer is not None} == set()


@pytest.mark.parametrize("dialog", CODEX.start.dialogs, ids=lambda dialog: str(dialog.name))
def test_each_dialog_of_the_start_stands_on_its_own_screen_only(dialog: object) -> None:
    found = {
        name
        for name, r in SCREENS.items()
        if known_dialog(CODEX.start, r.screen, CODEX.dialog_rows) == dialog
    }
    assert found == {f"{getattr(dialog, 'name', '')}_dialog"}


def test_a_marker_stands_only_for_as_many_characters_as_were_pasted() -> None:
    assert landed(CODEX, seen("pasted_marker"), "y" * 1200)
    assert not landed(CODEX, seen("pasted_marker"), "y" * 1201)
    assert landed(CODEX, seen("pasted_marker_lines"), "line\n" * 400)
    assert guard_text(seen("pasted_marker"), "y" * 1200) == "Pasted Content 1200 chars"


def test_a_draft_with_an_empty_line_ends_above_the_footer() -> None:
    rows = ["• said", "", GLYPH + "one", "", "  two", *FOOTER]
    assert look(CODEX, screen_of(*rows, cursor=(5, 4))).composer == "one\n\ntwo"


def test_a_draft_as_tall_as_the_screen_has_no_footer() -> None:
    rows = [GLYPH + "one", "", "  two", "  three"]
    assert look(CODEX, screen_of(*rows, cursor=(7, 3))).composer == "one\n\ntwo\nthree"


def test_a_prompt_quoted_in_the_conversation_is_not_the_input_box() -> None:
    rows = ["\x1b[1;2m› \x1b[0mearlier", "", "› \x1b[2mAsk Codex", "not indented", *FOOTER]
    assert look(CODEX, screen_of(*rows, cursor=(2, 2))).composer is None


def test_a_chosen_row_of_a_menu_is_not_the_input_box() -> None:
    rows = ["\x1b[1;7m› /model  choose\x1b[0m", "", *FOOTER]
    assert look(CODEX, screen_of(*rows, cursor=(2, 1))).composer is None
