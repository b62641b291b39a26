from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_torch.errors import DriverInvalid
from noval_d.agents.driver import MEANINGS, STRATEGIES, Driver
from noval_d.agents.driver_file import load_drivers, parse_driver
from noval_d.agents.finders import FINDERS
from noval_d.agents.reports import Meaning

SMALL = """
[driver]
name = "small"
commands = ["small"]
[composer]
find = "between_rules"
rule = '^-{3}'
prompts = [">"]
"""


def refused(text: str) -> DriverInvalid:
    with pytest.raises(DriverInvalid) as caught:
        parse_driver(text, "small.toml")
    return caught.value


def test_the_drivers_that_come_along_load() -> None:
    assert {"claude", "line"} <= set(load_drivers(None))


def test_the_driver_of_lines_adds_nothing_and_looks_at_nothing() -> None:
    line = load_drivers(None)["line"]
    assert (line.kind, line.strategy, line.prefix, line.trailing, line.harmless) == (
        "line",
        "none",
        "",
        "",
        "",
    )
    assert line.max_line_bytes == 4095


def test_claude_is_typed_into_with_a_visible_prefix_and_a_closing_blank() -> None:
    claude = load_drivers(None)["claude"]
    assert claude.prefix.startswith("[nova")
    assert claude.trailing == " "
    assert not set(claude.harmless) & set("/!#@$&\\?")
    assert not any(char.isspace() for char in claude.harmless)


def test_a_small_driver_has_the_defaults() -> None:
    driver = parse_driver(SMALL, "small.toml")
    assert (driver.name, driver.kind, driver.enter, driver.enter_window_s) == (
        "small",
        "composer",
        "key",
        0.6,
    )
    assert driver.defers_dialogs is False
    assert repr(driver) == "<Driver small composer between_rules>"


@pytest.mark.parametrize(
    ("extra", "key", "cure"),
    [
        ("[composr]", "[composr]", "composer"),
        ("[paste]\nsetle_s = 1", "paste.setle_s", "settle_s"),
        ("[text]\nprefx = ''", "text.prefx", "prefix"),
        ("[ready]\nxyz = 1", "ready.xyz", "after_s"),
        ("[strat]", "[strat]", "start"),
        ("[start]\ncomand = ['x']", "start.comand", "command"),
        ("[start.dialogs.trust]\nkyes = ['Enter']", "start.dialogs.trust.kyes", "keys"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(extra: str, key: str, cure: str) -> None:
    error = refused(SMALL + extra)
    assert key in error.message
    assert cure in error.hint


@pytest.mark.parametrize(
    ("extra", "key"),
    [
        ("[paste]\nsettle_s = '1'", "paste.settle_s"),
        ("[paste]\nsettle_s = true", "paste.settle_s"),
        ("[paste]\nsettle_s = -1", "paste.settle_s"),
        ("[paste]\nsettle_s = nan", "paste.settle_s"),
        ("[paste]\nmarker = '['", "paste.marker"),
        ("[paste]\nmarker = ''", "paste.marker"),
        ("[busy]\nqueues = 1", "busy.queues"),
        ("[busy]\npatterns = 'x'", "busy.patterns"),
        ("[busy]\npatterns = ['(']", "busy.patterns"),
        ("[dialog]\nrows = 1.5", "dialog.rows"),
        ("[dialog]\nrows = true", "dialog.rows"),
        ("[dialog]\nmarks = ['Esc #{x}']", "dialog.marks"),
        ("[enter]\nwith = 'click'", "enter.with"),
        ("[enter]\nwith = ['key']", "enter.with"),
        ("[text]\nprefix = 1", "text.prefix"),
        ("[hooks]\nStop = 'done'", "hooks.Stop"),
        ("[hooks]\nStop = []", "hooks.Stop"),
        ("[start]\ncommand = 'claude'", "start.command"),
        ("[start]\ncommand = ['']", "start.command"),
        ("[start]\nprompt = ['-p']", "start.prompt"),
        ("[start]\nresume = ['{session}', '{session}']", "start.resume"),
        ("[start]\nquit = 1", "start.quit"),
        ("[start]\ndialogs = 1", "start.dialogs"),
        ("[start.dialogs]\ntrust = 1", "start.dialogs.trust"),
        ("[start.dialogs.trust]\nkeys = ['Enter']", "start.dialogs.trust.marks"),
        ("[start.dialogs.trust]\nmarks = ['I trust #{x}']\nkeys = ['Enter']", "start.dialogs.trust.marks"),
        ("[start.dialogs.trust]\nmarks = ['I trust it']\nkeys = ['Escape']", "start.dialogs.trust.keys"),
        ("[start.dialogs.'Trust it']\nmarks = ['I trust it']\nkeys = ['Enter']", "start.dialogs.Trust it"),
    ],
)
def test_a_value_that_does_not_fit_its_key_is_refused(extra: str, key: str) -> None:
    assert key in refused(SMALL + extra).message


@pytest.mark.parametrize("colours", ["[256]", "['grey']", "[true]", "['#ABCDEF']", "[-1]"])
def test_a_colour_is_a_palette_number_or_rgb(colours: str) -> None:
    assert "composer.ghosts" in refused(SMALL + f"ghosts = {colours}").message


def test_colours_are_kept_as_the_screen_names_them() -> None:
    assert parse_driver(SMALL + 'ghosts = [8, "#999999"]', "small.toml").ghosts == {"8", "#999999"}


@pytest.mark.parametrize("prompt", ['""', '"ab"', "1"])
def test_a_prompt_is_one_character(prompt: str) -> None:
    assert "composer.prompts" in refused(SMALL.replace('[">"]', f"[{prompt}]")).message


@pytest.mark.parametrize("missing", ["name", "commands", "find", "rule", "prompts"])
def test_a_driver_without_what_it_needs_is_refused(missing: str) -> None:
    without = "\n".join(line for line in SMALL.splitlines() if not line.startswith(missing))
    assert missing in refused(without).message


@pytest.mark.parametrize(
    "text", ["", "[driver", "driver = 1", "hooks = 1", "[driver]\nname = 'A b'", "x = 1"]
)
def test_what_is_no_driver_is_refused(text: str) -> None:
    assert "small.toml" in refused(text).message


def test_a_line_driver_that_adds_to_the_text_is_refused() -> None:
    text = "[driver]\nname = 'sh'\nkind = 'line'\n[text]\nprefix = 'x'"
    assert "adds nothing" in refused(text).message


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=4))
def test_a_value_of_any_type_is_read_or_refused(value: object) -> None:
    from noval_d.agents.driver_file import _read
    from noval_d.agents.driver_keys import KEYS

    for section, keys in KEYS.items():
        for key, (_, read) in keys.items():
            with suppress(DriverInvalid):
                _read(read, value, f"{section}.{key}", "any.toml")


def test_every_field_of_a_driver_has_a_key() -> None:
    from noval_d.agents.driver_keys import KEYS

    named = {field for keys in KEYS.values() for field, _ in keys.values()} | {"hooks", "start"}
    assert named == {field.name for field in fields(Driver)}


def test_every_strategy_has_its_finder() -> None:
    assert set(FINDERS) == set(STRATEGIES)


def test_hooks_mean_what_reports_understand() -> None:
    assert set(MEANINGS) == {str(meaning) for meaning in Meaning}


def test_a_users_file_replaces_the_driver_of_its_name_and_adds_others(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SMALL)
    (tmp_path / "claude.toml").write_text(SMALL.replace("small", "claude"))
    (tmp_path / "notes.txt").write_text("no driver")
    drivers = load_drivers(tmp_path)
    assert {"small", "claude", "line"} <= set(drivers)
    assert drivers["claude"].rule == re.compile("^-{3}")


def test_a_users_directory_that_is_missing_holds_no_drivers(tmp_path: Path) -> None:
    assert load_drivers(tmp_path / "none") == load_drivers(None)


def test_a_file_must_be_named_like_its_driver(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(SMALL)
    with pytest.raises(DriverInvalid, match="small"):
        load_drivers(tmp_path)


def test_a_users_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    with pytest.raises(DriverInvalid, match="UTF-8"):
        load_drivers(tmp_path)
    (tmp_path / "bad.toml").unlink()
    (tmp_path / "dir.toml").mkdir()
    with pytest.raises(DriverInvalid, match="cannot be read"):
        load_drivers(tmp_path)
    (tmp_path / "dir.toml").rmdir()
    (tmp_path / "big.toml").write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(DriverInvalid, match="larger"):
        load_drivers(tmp_path)
