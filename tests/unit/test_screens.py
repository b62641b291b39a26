"""Every driver sees each of its recorded screens as expected, and needs each of its patterns for that."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from noval_d.agents.driver import Driver
from noval_d.agents.record import Recording, expectation
from noval_d.agents.sight import look
from tests.support.screens import DRIVERS, recordings

NEVER = re.compile(r"(?!)")
AGENTS = ("aider", "opencode")
SCREENS: dict[str, dict[str, Recording]] = {name: recordings(name) for name in AGENTS if name in DRIVERS}
EVERY = [(driver, name) for driver, screens in SCREENS.items() for name in screens]
SINGLE = (
    "rule",
    "prompt",
    "status",
    "title_idle",
    "title_busy",
    "title_elsewhere",
    "marker",
    "home",
    "limit_over",
)
SEVERAL = ("prompts", "modes", "ghosts", "dialogs", "busy", "limits", "limit_waits", "compacting")
MACHINES = re.compile(r"/(?:tmp|root|work)/|/home/(?!developer/)")


def screen_of(driver: str, name: str) -> Recording:
    return SCREENS[driver][name]


@pytest.mark.parametrize(("driver", "name"), EVERY)
def test_a_recorded_screen_is_seen_as_expected(driver: str, name: str) -> None:
    recording = screen_of(driver, name)
    assert expectation(look(DRIVERS[driver], recording.screen)) == recording.expect


@pytest.mark.parametrize(("driver", "name"), EVERY)
def test_a_screens_name_says_what_is_on_it(driver: str, name: str) -> None:
    sight = look(DRIVERS[driver], screen_of(driver, name).screen)
    kind = name.partition("_")[0]
    assert sight.composer is None or sight.dialog is None
    assert (sight.composer == "") >= (kind == "idle"), "nothing is typed on an idle screen"
    assert sight.busy is (kind == "busy"), "busy screens, and they alone, say that the agent works"
    assert bool(sight.composer) >= (kind in {"draft", "pasted", "menu", "mode"}), "somebody typed something"
    assert (sight.dialog is not None) is (kind in {"permission", "confirm"}), "a question is open"
    assert (sight.composer is None) >= (kind in {"view", "start"}), "no input box is in front"


@pytest.mark.parametrize(("driver", "name"), EVERY)
def test_no_screen_names_a_machine_or_a_person(driver: str, name: str) -> None:
    recording = screen_of(driver, name)
    assert not MACHINES.search("\n".join([recording.title, *(row.text for row in recording.screen.rows)]))


def _mutants(driver: Driver) -> dict[str, Driver]:
    change: Any = replace
    mutants: dict[str, Driver] = {}
    if driver.strategy != "at_prompt":  # there the prompt says where a text begins
        mutants["indent"] = replace(driver, indent=driver.indent + 2)
    if driver.busy_cursor_hidden:
        mutants["cursor_hidden"] = replace(driver, busy_cursor_hidden=False)
        mutants["dialog_rows"] = replace(driver, dialog_rows=0)
    if driver.dialog_at_cursor:
        mutants["at_cursor"] = replace(driver, dialog_at_cursor=False)
    if driver.cursor_visible is not None:
        mutants["cursor_visible"] = replace(driver, cursor_visible=None)
    for field in SINGLE:
        if getattr(driver, field) is not None:
            mutants[field] = change(driver, **{field: NEVER})
    for field in SEVERAL:
        values = getattr(driver, field)
        for value in values:
            rest = type(values)(other for other in values if other != value)
            mutants[f"{field} without {getattr(value, 'pattern', value)}"] = change(driver, **{field: rest})
    return mutants


MUTANTS = [(driver, mutant) for driver in SCREENS for mutant in _mutants(DRIVERS[driver])]


@pytest.mark.parametrize(("driver", "mutant"), MUTANTS)
def test_without_a_pattern_some_screen_is_misjudged(driver: str, mutant: str) -> None:
    changed = _mutants(DRIVERS[driver])[mutant]
    assert any(expectation(look(changed, each.screen)) != each.expect for each in SCREENS[driver].values())


@pytest.mark.parametrize(("driver", "mark"), [(d, mark) for d in SCREENS for mark in DRIVERS[d].dialog_marks])
def test_a_mark_stands_on_a_screen_and_on_no_idle_one_that_does_not_quote_it(driver: str, mark: str) -> None:
    marked = {
        name
        for name, recording in SCREENS[driver].items()
        if mark not in look(DRIVERS[driver], recording.screen).absent_marks
    }
    assert marked
    assert not {name for name in marked if name.startswith("idle") and "quoted" not in name}
