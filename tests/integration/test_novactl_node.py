"""novactl up and down with the real daemon: twice, at once, in the foreground, and when it cannot start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.cli import clean_environment, run_program

UP = [sys.executable, "-m", "novactl.main", "up", "--json"]


@pytest.fixture
def env() -> Iterator[dict[str, str]]:
    """A node of its own; it is stopped at the end whatever happened."""
    with tempfile.TemporaryDirectory(prefix="nv", ignore_cleanup_errors=True) as directory:
        ours = clean_environment(
            HOME=directory, NOVA_STATE_DIR=f"{directory}/s", NOVA_TMUX=f"{directory}/t", NOVA_NODE="n1"
        )
        yield ours
        run_program(["down"], env=ours, timeout_s=60)


def ended(pid: int) -> bool:
    """Whether a process is gone, or waits as a zombie for whoever has inherited it."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True


def test_up_twice_and_down_twice_is_fine(env: dict[str, str]) -> None:
    first = run_program(["up", "--json"], env=env, timeout_s=60)
    assert first.returncode == 0, first.stderr
    second = run_program(["up", "--json"], env=env, timeout_s=60)
    assert json.loads(first.stdout) == json.loads(second.stdout)
    facts = json.loads(first.stdout)
    assert facts["node"] == "n1"
    assert facts["socket"] == f"{env['NOVA_STATE_DIR']}/control.sock"
    assert Path(facts["log"]).stat().st_size > 0
    assert os.getsid(facts["pid"]) == facts["pid"]
    assert run_program(["status"], env=env).returncode == 0
    down = run_program(["down"], env=env, timeout_s=60)
    assert (down.returncode, str(facts["pid"]) in down.stdout.decode()) == (0, True)
    assert ended(facts["pid"])
    again = run_program(["down"], env=env)
    assert (again.returncode, again.stdout) == (0, b"nova-torchd is not running\n")
    assert run_program(["status"], env=env).returncode == 3


def test_a_daemon_at_another_socket_is_named_and_not_said_to_be_down(env: dict[str, str]) -> None:
    other = {**env, "NOVA_SOCKET": f"{env['NOVA_STATE_DIR']}/other.sock"}
    pid = json.loads(run_program(["up", "--json"], env=other, timeout_s=60).stdout)["pid"]
    try:
        for command in ("down", "up"):
            done = run_program([command], env=env, timeout_s=60)
            assert (done.returncode, done.stdout) == (1, b"")
            *_, line = done.stderr.decode().splitlines()
            assert f"(pid {pid})" in line
        assert run_program(["status"], env=other).returncode == 0
    finally:
        run_program(["down"], env=other, timeout_s=60)
    assert run_program(["down"], env=env).returncode == 0


def test_an_up_with_another_broker_is_refused_while_one_runs(env: dict[str, str]) -> None:
    assert run_program(["up"], env=env, timeout_s=60).returncode == 0
    done = run_program(["up", "--broker", "redis://127.0.0.1:1"], env=env, timeout_s=60)
    assert (done.returncode, done.stdout) == (1, b"")
    assert (
        done.stderr
        == b"novactl: nova-torchd runs already, with the broker embedded. Stop it first: novactl down\n"
    )
    assert run_program(["up", "--broker", "embedded"], env=env, timeout_s=60).returncode == 0


def test_an_up_whose_broker_does_not_answer_says_so(env: dict[str, str]) -> None:
    done = run_program(["up"], env={**env, "NOVA_BROKER_URL": "redis://127.0.0.1:1"}, timeout_s=90)
    assert done.returncode == 0
    assert b"warning: The broker is not used: cannot reach the broker at redis://127.0.0.1:1" in done.stderr


def test_after_an_up_the_broker_is_there(env: dict[str, str]) -> None:
    done = run_program(["up"], env=env, timeout_s=90)
    assert (done.returncode, b"warning" in done.stderr) == (0, False)
    assert b"broker\tup, " in run_program(["status"], env=env).stdout


def test_several_ups_at_once_start_one_daemon(env: dict[str, str]) -> None:
    runs = [subprocess.Popen(UP, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    said = [run.communicate(timeout=90) for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], said
    assert len({json.loads(out)["pid"] for out, _ in said}) == 1


def test_a_daemon_that_dies_at_its_start_is_quoted(env: dict[str, str]) -> None:
    os.makedirs(f"{env['NOVA_STATE_DIR']}/control.sock")
    done = run_program(["up"], env=env, timeout_s=60)
    assert done.returncode != 0
    assert done.stdout == b""
    *progress, line = done.stderr.decode().splitlines()  # a slow machine is told what is waited for
    assert all(told.startswith("waiting for ") for told in progress)
    assert line.startswith("novactl: ")
    assert "directory" in line
    left = [
        p.pid for p in psutil.process_iter() if any(env["NOVA_STATE_DIR"] in word for word in words_of(p))
    ]
    assert not left, "the broker that it was just starting goes on"


def test_a_wrong_configuration_starts_nothing(env: dict[str, str]) -> None:
    done = run_program(["up", "--broker", "http://nowhere"], env=env, timeout_s=60)
    assert done.returncode == 2
    assert b"redis://" in done.stderr
    assert not os.path.exists(env["NOVA_STATE_DIR"])


def test_the_foreground_is_the_daemon_itself(env: dict[str, str]) -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "novactl.main", "up", "--foreground"],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while (running := run_program(["rpc", "ping"], env=env)).returncode == 3:
            assert program.poll() is None
        assert json.loads(running.stdout)["pid"] == program.pid
    finally:
        program.send_signal(signal.SIGTERM)
        assert program.wait(60) == 0


def words_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
