"""Our hooks in Claude Code's settings: nothing foreign is lost, and removing leaves what was there before."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_torch.errors import Conflict
from novactl.hooks import claude, gemini, settings
from novactl.hooks.file import BACKUP_SUFFIX
from novactl.hooks.merge import installed, is_ours, with_ours, without_ours

Settings = dict[str, Any]

ENTRIES = {
    event: {"type": "command", "command": claude.command(event), "timeout": 5} for event in claude.EVENTS
}

plain = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
values = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
foreign_entries = st.fixed_dictionaries(
    {
        "type": st.just("command"),
        "command": st.sampled_from(["true", "notify.sh 'a b'", 'x " y', "novactl status"]),
    },
    optional={"timeout": st.integers(1, 60)},
)
groups = st.fixed_dictionaries(
    {"hooks": st.lists(foreign_entries, max_size=3)}, optional={"matcher": st.sampled_from(["", "Bash", "*"])}
)
events = st.sampled_from([*claude.EVENTS, "PreToolUse", "SubagentStop"])
hooks = st.dictionaries(events, st.lists(groups | plain, max_size=3), max_size=5)


@st.composite
def settings_objects(draw: st.DrawFn) -> Settings:
    data: Settings = draw(
        st.dictionaries(st.text(max_size=8).filter(lambda key: key != "hooks"), values, max_size=4)
    )
    if draw(st.booleans()):
        items = [*data.items()]
        items.insert(draw(st.integers(0, len(items))), ("hooks", draw(hooks)))
        data = dict(items)
    return data


def spelled(data: object) -> str:
    return json.dumps(data)  # the order of keys counts


def foreign(data: Settings) -> list[tuple[str, Any]]:
    """Every foreign hook with its event, in order."""
    return [
        (event, entry)
        for event, groups in data.get("hooks", {}).items()
        for group in groups
        if isinstance(group, dict)
        for entry in group.get("hooks", [])
        if not is_ours(entry)
    ]


@given(settings_objects())
def test_installing_and_removing_gives_back_the_same_settings(before: Settings) -> None:
    assert spelled(without_ours(with_ours(before, ENTRIES), before)) == spelled(before)


@given(settings_objects())
def test_installing_twice_is_installing_once(before: Settings) -> None:
    once = with_ours(before, ENTRIES)
    assert spelled(with_ours(once, ENTRIES)) == spelled(once)
    assert all(installed(once, ENTRIES).values())


@given(settings_objects())
def test_foreign_hooks_keep_their_place_and_order(before: Settings) -> None:
    after = with_ours(before, ENTRIES)
    kept = {key: value for key, value in after.items() if key != "hooks"}
    assert list(before) == [key for key in after if key in before]
    assert kept == {key: value for key, value in before.items() if key != "hooks"}
    assert foreign(after) == foreign(before)


@given(settings_objects(), settings_objects())
def test_removing_takes_only_ours_whatever_the_settings_were_before(now: Settings, before: Settings) -> None:
    after = without_ours(with_ours(now, ENTRIES), before)
    assert foreign(after) == foreign(now)
    assert not any(installed(after, ENTRIES).values())


def test_an_entry_of_an_older_installation_is_brought_up_to_date_in_its_place() -> None:
    old = {"type": "command", "command": "/old/bin/python -I -S /old/novactl/hook.py Stop", "timeout": 9}
    foreign_entry = {"type": "command", "command": "true"}
    before = {"hooks": {"Stop": [{"hooks": [foreign_entry, old]}, {"hooks": [dict(old)]}]}}
    after = with_ours(before, {"Stop": ENTRIES["Stop"]})
    assert after == {"hooks": {"Stop": [{"hooks": [foreign_entry, ENTRIES["Stop"]]}]}}


@pytest.mark.parametrize(
    ("command", "ours"),
    [
        ("/venv/bin/python -I -S /venv/lib/novactl/hook.py Stop", True),
        ("'/with space/python' -I -S '/with space/novactl/hook.py' Stop", True),
        ("novactl hook Stop", True),
        ("/usr/local/bin/novactl hook Stop", True),
        ("novactl status", False),
        ("/home/me/hook.py Stop", False),
        ("echo 'unbalanced", False),
    ],
)
def test_ours_is_told_from_foreign(command: str, ours: bool) -> None:
    assert is_ours({"type": "command", "command": command}) is ours


# -- the file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "settings.json"


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{\n\t"model": "opus",\n\t"hooks": {}\n}',
        '{"hooks": {"Stop": []}, "a": 1.50}',
        '{\n    "b": "\\u00e9",\n    "hooks": {"Stop": [{"hooks": [{"type": "command", "command": "true"}]}]}\n}\n',
        "",
        "  \n",
    ],
)
def test_removing_leaves_the_very_bytes_that_were_there(path: Path, text: str) -> None:
    path.write_text(text)
    assert claude.install(str(path))
    assert not claude.install(str(path))
    assert claude.remove(str(path))
    assert not claude.remove(str(path))
    assert path.read_text() == text
    assert os.listdir(path.parent) == [path.name]


def test_a_file_that_only_we_filled_is_gone_after_removing(path: Path) -> None:
    claude.install(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    claude.remove(str(path))
    assert os.listdir(path.parent) == []


def test_what_was_changed_in_between_stays(path: Path) -> None:
    path.write_text('{"model": "opus"}')
    claude.install(str(path))
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "theme": "dark"}))
    claude.remove(str(path))
    assert json.loads(path.read_text()) == {"model": "opus", "theme": "dark"}


def test_mode_symlink_and_indentation_are_kept_and_a_backup_is_made(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "claude.json"
    real.parent.mkdir()
    real.write_text('{\n    "model": "opus"\n}')
    real.chmod(0o640)
    link = tmp_path / "settings.json"
    link.symlink_to(real)
    claude.install(str(link))
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert real.read_text().startswith('{\n    "model": "opus",\n    "hooks": {')
    assert not real.read_text().endswith("\n")
    backup = Path(f"{real}{BACKUP_SUFFIX}")
    assert backup.read_text() == '{\n    "model": "opus"\n}'
    assert stat.S_IMODE(backup.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1,}',
        "// comment\n{}",
        "[]",
        '{"a": 1, "a": 2}',
        '{"a": NaN}',
        '{"hooks": []}',
        '{"hooks": {"Stop": {}}}',
        "\ufeff{}",
        "[" * 100_000,
    ],
)
def test_a_file_that_is_not_understood_completely_is_left_alone(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(Conflict) as caught:
        claude.install(str(path))
    assert str(path) in caught.value.message
    assert "nothing was changed" in caught.value.hint
    assert path.read_text() == text
    assert os.listdir(path.parent) == [path.name]


def test_a_change_by_another_program_in_between_is_not_overwritten(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text("{}")

    def meanwhile(*args: Any, work: Callable[..., Settings] = with_ours) -> Settings:
        path.write_text('{"model": "opus"}')
        return work(*args)

    monkeypatch.setattr(settings, "with_ours", meanwhile)
    with pytest.raises(Conflict, match="changed by another program"):
        claude.install(str(path))
    assert path.read_text() == '{"model": "opus"}'


def test_a_lone_surrogate_of_somebody_else_survives(path: Path) -> None:
    path.write_text('{"odd": "\\ud800"}')
    claude.install(str(path))
    assert json.loads(path.read_text())["odd"] == "\ud800"


def test_look_says_what_is_installed_and_whether_it_still_exists(path: Path) -> None:
    assert claude.look(str(path))["events"] == dict.fromkeys(claude.EVENTS, False)
    claude.install(str(path))
    report = claude.look(str(path))
    assert report["events"] == dict.fromkeys(claude.EVENTS, True)
    assert report["command_exists"]
    path.write_text(path.read_text().replace("/novactl/hook.py", "/gone/novactl/hook.py"))
    assert not claude.look(str(path))["command_exists"]


def test_the_settings_are_looked_for_where_claude_code_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as home:
        monkeypatch.setenv("HOME", home)
        monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
        assert claude.settings_path(None) == f"{home}/.claude/settings.json"
        monkeypatch.setenv("CLAUDE_CONFIG_DIR", f"{home}/c")
        assert claude.settings_path(None) == f"{home}/c/settings.json"
        assert claude.settings_path("~/x.json") == f"{home}/x.json"


# -- Gemini CLI's


def test_geminis_settings_get_its_events_and_give_them_back(path: Path) -> None:
    text = '{\n  "ui": {"theme": "Ayu"},\n  "hooks": {"AfterTool": [{"matcher": "*", "hooks": []}]}\n}\n'
    path.write_text(text)
    assert gemini.install(str(path))
    assert not gemini.install(str(path))
    data = json.loads(path.read_text())
    assert data["ui"] == {"theme": "Ayu"}
    assert set(data["hooks"]) == {"AfterTool", *gemini.EVENTS}
    (entry,) = data["hooks"]["BeforeAgent"][0]["hooks"]
    assert entry["timeout"] == 5000  # milliseconds
    assert gemini.remove(str(path))
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("config", "off"),
    [
        ({}, ""),
        ({"enabled": True, "disabled": ["other"]}, ""),
        ({"enabled": False}, "hooksConfig.enabled is false"),
        ({"disabled": ["nova-torch"]}, "hooksConfig.disabled names nova-torch"),
    ],
)
def test_hooks_that_gemini_is_told_not_to_run_are_reported(path: Path, config: Settings, off: str) -> None:
    path.write_text(json.dumps({"hooksConfig": config}))
    gemini.install(str(path))
    assert gemini.look(str(path))["off"] == off
    assert json.loads(path.read_text())["hooksConfig"] == config


def test_the_settings_are_looked_for_where_gemini_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as home:
        monkeypatch.setenv("HOME", home)
        monkeypatch.delenv("GEMINI_CLI_HOME", raising=False)
        assert gemini.settings_path(None) == f"{home}/.gemini/settings.json"
        monkeypatch.setenv("GEMINI_CLI_HOME", f"{home}/g")
        assert gemini.settings_path(None) == f"{home}/g/.gemini/settings.json"
        assert gemini.settings_path("~/x.json") == f"{home}/x.json"
