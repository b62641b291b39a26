"""What a trial makes of what it saw: proven and there once, or drift; a screen is what its driver sees there."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from noval_d.agents.driver_file import load_drivers
from noval_d.canary.__main__ import Ending, Kept
from noval_d.canary.found import KINDS, find
from noval_d.canary.model.stub_model import StubModel
from noval_d.canary.results import Check, Outcome, Screen, claimed
from noval_d.canary.stage import OutOfTime, Stage
from noval_d.canary.trial import slowness

IDLE = {"composer": "", "dialog": None, "busy": False}


def screen(**seen: Any) -> Screen:
    return Screen(text=json.dumps({"expect": {**IDLE, **seen}}) + "\nrow")


@pytest.mark.parametrize(
    ("state", "received", "outcome"),
    [
        ("acknowledged", 1, Outcome.OK),
        ("acknowledged", 0, Outcome.DRIFT),
        ("acknowledged", 2, Outcome.DRIFT),
        ("submitted", 1, Outcome.DRIFT),
        ("unconfirmed", 1, Outcome.DRIFT),
    ],
)
def test_a_claim_fits_only_when_it_is_the_wanted_one_and_the_model_got_it_once(
    state: str, received: int, outcome: Outcome
) -> None:
    receipt = {"state": state, "reason": None}
    assert claimed(Check.PROOF, ("acknowledged",), receipt, received, None).outcome is outcome


@pytest.mark.parametrize(
    ("seen", "empty"),
    [
        ({}, True),
        ({"composer": None}, False),
        ({"composer": "a draft"}, False),
        ({"busy": True}, False),
        ({"dialog": "Do you want to proceed?"}, False),
        ({"reason": "copy_mode"}, False),
    ],
)
def test_an_agent_is_at_rest_only_with_an_empty_box_and_nothing_else(
    seen: dict[str, Any], empty: bool
) -> None:
    assert screen(**seen).empty is empty


def test_what_is_seen_is_said_in_words() -> None:
    assert str(screen(composer="half a", busy=True)) == "the input box 'half a', no dialog, that it works"
    assert str(screen(composer=None, dialog="Sure?")) == "no input box, the dialog 'Sure?', no sign of work"


def test_every_agent_that_can_be_tried_has_a_driver_that_says_how_old_its_looks_are() -> None:
    drivers = load_drivers()
    assert all(drivers[name].version and drivers[name].start.command for name in KINDS)


def test_a_program_is_the_named_one_else_that_of_the_environment_else_that_of_the_path(
    tmp_path: Path,
) -> None:
    for name in ("named", "bin", "path"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "claude").write_text("#!/bin/sh\n")
        (tmp_path / name / "claude").chmod(0o755)
    kind, driver = KINDS["claude"], load_drivers()["claude"]
    env = {"PATH": str(tmp_path / "path")}
    by_env = {**env, "NOVA_CLAUDE_BIN": str(tmp_path / "bin" / "claude")}

    def program(named: dict[str, str], env: dict[str, str]) -> str:
        found = find(kind, driver, named, env)
        return os.path.relpath(found.program, tmp_path) if found is not None else ""

    assert program({"claude": str(tmp_path / "named" / "claude")}, by_env) == "named/claude"
    assert program({}, by_env) == "bin/claude"
    assert program({}, env) == "path/claude"
    assert program({}, {"PATH": str(tmp_path)}) == ""


def test_a_signal_that_comes_as_a_trial_is_removed_waits_for_that() -> None:
    ending = Ending()
    with pytest.raises(SystemExit), ending.put_off_afterwards():
        ending.take(signal.SIGTERM, None)
    ending.take(signal.SIGTERM, None)  # again, while it is removed
    with ending.put_off_afterwards():
        pass
    with pytest.raises(SystemExit):
        ending.heed()
    quiet = Ending()
    with quiet.put_off_afterwards():
        pass
    quiet.heed()
    with pytest.raises(SystemExit):
        quiet.take(signal.SIGINT, None)


def test_of_a_directory_for_screens_only_those_of_the_checks_are_taken_away(tmp_path: Path) -> None:
    for name in ("claude-ready.screen", "claude-mine.screen", "codex-ready.screen"):
        (tmp_path / name).write_text("kept")
    Kept(str(tmp_path), "claude")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["claude-mine.screen", "codex-ready.screen"]


def test_a_slow_machine_is_waited_for_within_the_time_of_the_trial(tmp_path: Path) -> None:
    assert [slowness(ready_s) for ready_s in (0.5, 4.0, 38.0)] == [1.0, 1.0, 9.5]
    with StubModel() as stub:
        on = Stage(root=tmp_path, stub=stub, until=time.monotonic() + 100)
        assert on.left(10.0) == 10.0
        on.slow = slowness(20.0)
        assert on.left(10.0) == 50.0
        assert 90.0 < on.left(45.0) <= 100.0
        on.until = 0.0
        with pytest.raises(OutOfTime):
            on.left(1.0)
