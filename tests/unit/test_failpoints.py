"""Failpoints: off they are nothing; on they do what was asked, once, and say so; a typing error is named."""

from __future__ import annotations

import ast
import dis
import os
import signal
import subprocess
import sys
from collections import Counter

import pytest

from nova_torch.errors import ConfigInvalid, StoreFailed, TmuxNotAnswering
from noval_d import failpoints
from noval_d.failpoints import STEPS, VARIABLE, armed, off, read
from tests.unit.test_project import ROOT


def python(code: str, points: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, VARIABLE: points},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_the_variable_a_step_is_a_function_that_does_nothing() -> None:
    assert failpoints.failpoint is off
    assert failpoints.ACTIVE == ""
    does = [op.opname for op in dis.get_instructions(off) if op.opname not in ("RESUME", "CACHE")]
    assert does in (["LOAD_CONST", "RETURN_VALUE"], ["RETURN_CONST"])


def test_every_step_stands_in_the_code_and_no_other() -> None:
    used: Counter[str] = Counter()
    for path in (ROOT / "noval_d").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "failpoint":
                (argument,) = node.args
                assert isinstance(argument, ast.Constant)
                used[str(argument.value)] += 1
    assert set(used) == set(STEPS)


def test_a_point_acts_at_its_time_and_only_then() -> None:
    at = armed(read("begin.after=error@3, paste.before=error"))
    with pytest.raises(TmuxNotAnswering):
        at("paste.before")
    for _ in range(2):
        at("begin.after")
    with pytest.raises(StoreFailed, match=r"begin\.after=error@3"):
        at("begin.after")
    for step in ("begin.after", "paste.before", "settle.after"):
        at(step)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("paste.aftr=kill", "Did you mean paste.after"),
        ("paste.after=explode", "kill, pause, error"),
        ("paste.after", "STEP=ACTION"),
        ("paste.after=kill@0", "STEP=ACTION"),
        ("=kill", "STEP=ACTION"),
    ],
)
def test_what_is_no_failpoint_is_named_with_the_cure(text: str, told: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        read(text)
    assert told in str(caught.value)


def test_a_daemon_with_such_a_failpoint_does_not_start_and_says_why() -> None:
    daemon = python("import sys; from noval_d.__main__ import main; sys.exit(main([]))", "paste.aftr=kill")
    assert daemon.returncode == ConfigInvalid.exit_code
    assert "Did you mean paste.after" in daemon.stderr


def test_a_kill_is_a_kill_and_says_which() -> None:
    done = python("from noval_d.failpoints import failpoint as f; f('ack.after')", "ack.after=kill")
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, "failpoint ack.after=kill@1\n")
