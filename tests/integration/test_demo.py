"""The demo runs as a user runs it, tells when something is wrong, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
DEMO = (sys.executable, "-m", "tests.lab.demo")
TWICE = """
import sys
from tests.lab import demo, demo_stage
count = demo_stage._logged
demo_stage._logged = lambda *what: 2 * count(*what)
sys.exit(demo.main())
"""
LIMIT_S = 100

pytestmark = pytest.mark.timeout(LIMIT_S + 15)


def environment(home: Path, **more: str) -> dict[str, str]:
    """What a developer has, with traps: settings that nobody may read, and a node of his own."""
    (home / ".claude").mkdir()
    os.mkfifo(home / ".claude" / "settings.json")  # whoever opens it waits for ever
    mine = {"NOVA_TORCH_CONFIG": "/nonexistent", "NOVA_TMUX": "mine", "TMUX_PANE": "%77", "TMUX": "/mine,1,0"}
    return {"HOME": str(home), "PATH": os.environ["PATH"], "DEMO_AGENT": "tui", **mine, **more}


def run(env: Mapping[str, str], command: tuple[str, ...] = DEMO) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, env=dict(env), capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


def stage_of(output: str) -> Path:
    found = re.search(r"^socket (\S+)/state/control\.sock$", output, re.MULTILINE)
    assert found is not None, output
    return Path(found[1])


def left_of(stage: Path) -> list[str]:
    """Processes of a demo that still live."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("NOVA_STATE_DIR") == str(stage / "state"):
                found.append(f"{process.pid} {process.cmdline()}")
        except psutil.Error:
            continue
    return found


def test_the_demo_shows_proof_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = run(environment(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("arrived 1×, acknowledged") == 6
    assert "held          dialog" in done.stdout
    assert "held          draft" in done.stdout
    assert "\x1b[" not in done.stdout  # nobody looks: no colours
    assert not stage_of(done.stdout).exists()
    assert left_of(stage_of(done.stdout)) == []


def test_a_message_that_arrived_twice_fails_the_demo(tmp_path: Path) -> None:
    done = run(environment(tmp_path), (sys.executable, "-c", TWICE))
    assert done.returncode == 1
    assert "the demo FAILED: this should be: arrived 2×" in done.stderr
    assert left_of(stage_of(done.stdout)) == []
    assert not stage_of(done.stdout).exists()


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path, told: signal.Signals) -> None:
    process = subprocess.Popen(
        DEMO, cwd=ROOT, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    with process.stdout:
        said = read_until(process.stdout.fileno(), "acknowledged ends when")
        process.send_signal(told)
        process.send_signal(told)  # impatience does not stop the cleaning up
        assert process.wait(30) == 130
    assert left_of(stage_of(said)) == []
    assert not stage_of(said).exists()


def read_until(source: int, wanted: str) -> str:
    said, until = b"", time.monotonic() + LIMIT_S
    while wanted.encode() not in said:
        assert select.select([source], [], [], max(0.0, until - time.monotonic()))[0], said
        part = os.read(source, 4096)
        assert part, said.decode()
        said += part
    return said.decode()


def test_without_tmux_one_sentence_says_what_to_install(tmp_path: Path) -> None:
    done = run(environment(tmp_path, PATH=str(tmp_path)))
    assert (done.returncode, done.stderr.count("\n")) == (1, 2)
    assert "tmux is not installed" in done.stderr


def test_an_unknown_agent_is_named(tmp_path: Path) -> None:
    done = run(environment(tmp_path, DEMO_AGENT="codex"))
    assert done.returncode == 1
    assert "DEMO_AGENT is 'codex'; it may be claude or tui." in done.stderr
