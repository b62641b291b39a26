"""The first program of a spawned agent's window: it waits for its go-ahead and becomes what that says, once."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from noval_d.life.goahead import GoAhead, new_token
from tests.support.node import until

SHOW = "import os, sys, json; print(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]))"
PYTHONS_OWN = 1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1  # an interpreter ignores these itself
ODD = ["$(touch x)", "'q' \"qq\"", "semi;", "", "ä\n#{pane_id}", "-x"]


@pytest.fixture
def goahead(tmp_path: Path) -> GoAhead:
    made = GoAhead(tmp_path / "starts")
    made.sweep()
    return made


def begin(goahead: GoAhead, token: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(goahead.argv(token), stdout=subprocess.PIPE, text=True, env=env, cwd="/")


def test_the_words_the_directory_and_the_environment_arrive_as_they_are(
    goahead: GoAhead, tmp_path: Path
) -> None:
    token = new_token()
    with begin(goahead, token, PATH=os.defpath, KEPT="1", NOTIFY_SOCKET="daemon's") as program:
        until(lambda: goahead.waits(token, program.pid), 45, "the program")
        argv = [sys.executable, "-X", "utf8", "-c", SHOW, *ODD]
        goahead.give(
            token, argv=argv, cwd=str(tmp_path), env={"SECRET": "$x 'y'", "PYTHONCOERCECLOCALE": "0"}
        )
        said = program.communicate(timeout=20)[0]
    words, cwd, env = json.loads(said)
    assert words == ODD
    assert cwd == str(tmp_path)
    assert (env["SECRET"], env["KEPT"], env["PWD"]) == ("$x 'y'", "1", str(tmp_path))
    assert "NOTIFY_SOCKET" not in env
    assert "LC_CTYPE" not in env
    assert not (tmp_path / "x").exists()
    assert list((tmp_path / "starts").iterdir()) == []


def test_no_signal_is_ignored_that_was_not_before(goahead: GoAhead, tmp_path: Path) -> None:
    token = new_token()
    with begin(goahead, token, PATH=os.defpath) as program:
        goahead.give(token, argv=["grep", "SigIgn", "/proc/self/status"], cwd="/", env={})
        said = program.communicate(timeout=20)[0]
    own = Path("/proc/self/status").read_text().partition("SigIgn:")[2].split()[0]
    assert int(said.split()[1], 16) == int(own, 16) & ~PYTHONS_OWN


def test_one_go_ahead_starts_one_program(goahead: GoAhead, tmp_path: Path) -> None:
    token, log = new_token(), tmp_path / "log"
    first, second = begin(goahead, token, PATH=os.defpath), begin(goahead, token, PATH=os.defpath)
    with first, second:
        goahead.give(token, argv=["sh", "-c", f"echo here >> {log}; exec sleep 60"], cwd="/", env={})
        until(log.exists, 45, "the program")
        until(lambda: goahead.waits(token, first.pid) != goahead.waits(token, second.pid), 45, "one of both")
        for program in (first, second):
            program.kill()
    assert log.read_text() == "here\n"


def test_a_go_ahead_is_private_and_can_be_withdrawn(goahead: GoAhead, tmp_path: Path) -> None:
    token = new_token()
    goahead.give(token, argv=["true"], cwd="/", env={"SECRET": "x"})
    (file,) = (tmp_path / "starts").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    goahead.withdraw(token)
    assert list(file.parent.iterdir()) == []


def test_what_cannot_be_started_is_said_in_the_window(goahead: GoAhead) -> None:
    token = new_token()
    with begin(goahead, token, PATH=os.defpath) as program:
        goahead.give(token, argv=["no-such-program"], cwd="/", env={})
        said = program.communicate(timeout=20)[0]
    assert said == "no-such-program cannot be started in /: No such file or directory.\n"
    assert program.returncode == 127
