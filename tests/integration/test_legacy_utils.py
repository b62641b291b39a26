"""`tmux_utils.py`: the interface of the original, as module and as program, without its defects."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from tests.lab.tmux import PrivateTmux
from tests.support.legacy import UTILS, Window, environment, window


@pytest.fixture(scope="module")
def utils() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tmux_utils", UTILS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tmux_utils"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def panes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Window]:
    """A tall window with a colon in its name, and a plain one beside it."""
    with PrivateTmux.create() as tmux:
        size = ("-x", "120", "-y", "200")
        first = ("new-session", "-d", "-s", "work", "-n", "build: all", *size)
        made = window(tmux, tmp_path_factory.mktemp("panes"), first, "first")
        tmux.tmux("new-window", "-d", "-t", "=work:4", "-n", "Logs", "cat")
        yield made


@pytest.fixture
def orchestrator(utils: ModuleType, panes: Window, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("TMUX", "TMUX_PANE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment(panes.tmux).items():
        if name.startswith("NOVA_"):
            monkeypatch.setenv(name, value)
    return utils.TmuxOrchestrator()


def test_sessions_and_windows_are_listed_even_with_colons_in_their_names(
    utils: ModuleType, orchestrator: Any
) -> None:
    assert (orchestrator.safety_mode, orchestrator.max_lines_capture) == (True, 1000)
    windows = [
        utils.TmuxWindow(session_name="work", window_index=0, window_name="build: all", active=True),
        utils.TmuxWindow(session_name="work", window_index=4, window_name="Logs", active=False),
    ]
    assert orchestrator.get_tmux_sessions() == [
        utils.TmuxSession(name="work", windows=windows, attached=False)
    ]


def test_a_window_is_described_and_its_content_is_what_stands_in_it(orchestrator: Any) -> None:
    info = orchestrator.get_window_info("work", 0)
    assert list(info) == ["name", "active", "panes", "layout", "content"]
    assert (info["name"], info["active"], info["panes"]) == ("build: all", True, 1)
    assert info["content"] == "READY"
    assert "120x200" in info["layout"]


def test_a_missing_session_is_an_answer_and_no_exception(orchestrator: Any) -> None:
    assert "there is no window gone:0" in orchestrator.get_window_info("gone", 0)["error"]
    assert "there is no window work:x" in orchestrator.get_window_info("work", "x")["error"]
    assert "there is no window work:x" in orchestrator.capture_window_content("work", "x")
    assert "there is no window work:9" in orchestrator.capture_window_content("work", 9)
    assert orchestrator.send_command_to_window("gone", 0, "x", confirm=False) is False


def test_names_are_found_in_whatever_case(orchestrator: Any) -> None:
    assert orchestrator.find_window_by_name("LOG") == [("work", 4)]
    assert orchestrator.find_window_by_name("") == [("work", 0), ("work", 4)]


def test_the_snapshot_of_a_tall_pane_shows_what_stands_in_it(orchestrator: Any) -> None:
    snapshot = orchestrator.create_monitoring_snapshot()
    assert "Window 0: build: all (active)" in snapshot
    assert "| READY" in snapshot


def test_keys_are_typed_without_and_commands_with_enter(orchestrator: Any, panes: Window) -> None:
    assert orchestrator.send_keys_to_window("work", 0, "-half;", confirm=False) is True
    assert panes.fresh(6) == b"-half;"
    assert orchestrator.send_keys_to_window("work", 0, "C-c", confirm=False) is True
    assert panes.fresh(1) == b"\x03"
    assert orchestrator.send_command_to_window("work", 0, "Enter", confirm=False) is True
    assert panes.fresh() == b"Enter\r"


@pytest.mark.parametrize(("answer", "done"), [("yes", True), ("y", False), ("", False)])
def test_in_safety_mode_only_yes_passes(
    orchestrator: Any, panes: Window, monkeypatch: pytest.MonkeyPatch, answer: str, done: bool
) -> None:
    monkeypatch.setattr("builtins.input", lambda _question: answer)
    assert orchestrator.send_command_to_window("work", 0, "asked") is done
    assert panes.nothing() is not done
    if done:
        assert panes.fresh() == b"asked\r"


def test_without_safety_mode_nobody_is_asked(orchestrator: Any, panes: Window) -> None:
    orchestrator.safety_mode = False
    assert orchestrator.send_command_to_window("work", 0, "at once") is True
    assert panes.fresh() == b"at once\r"


def test_as_a_program_it_prints_the_status_of_everything(panes: Window) -> None:
    done = subprocess.run(
        [sys.executable, str(UTILS)], env=environment(panes.tmux), capture_output=True, text=True, check=True
    )
    status = json.loads(done.stdout)
    assert done.stdout == json.dumps(status, indent=2) + "\n"
    assert list(status) == ["timestamp", "sessions"]
    (session,) = status["sessions"]
    assert list(session) == ["name", "attached", "windows"]
    assert [list(each) for each in session["windows"]] == [["index", "name", "active", "info"]] * 2


def test_without_a_server_its_sessions_are_empty(
    utils: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with PrivateTmux.create() as tmux:
        done = subprocess.run(
            [sys.executable, str(UTILS)], env=environment(tmux), capture_output=True, text=True, check=False
        )
        assert (json.loads(done.stdout)["sessions"], done.returncode) == ([], 0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NOVA_TMUX", str(tmux.socket_path))
            assert utils.TmuxOrchestrator().get_tmux_sessions() == []
    assert "no tmux server" in capsys.readouterr().out
