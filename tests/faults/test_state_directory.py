"""The node's disk: full, read-only, taken away. What cannot be kept is refused, and nothing is typed unwritten."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nova_torch.errors import NovaError, StoreFailed
from tests.support.agents import raw
from tests.support.machine import hold, let, node_at, small_disk
from tests.support.node import ROOT, TestNode, node, until


@pytest.fixture
def running() -> Iterator[TestNode]:
    with node() as made:
        yield made


def codes(running: TestNode) -> set[str]:
    return {check["code"] for check in running.call("status")["health"]}


def start_refused(running: TestNode) -> tuple[int, str]:
    """Start the daemon, which cannot; return its exit code and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "noval_d"],
        cwd=ROOT,
        env=running.environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.splitlines()[-1]


def test_a_full_disk_refuses_new_messages_and_types_none_that_it_cannot_write_down(tmp_path: Path) -> None:
    with small_disk() as disk, node_at(disk.path / "s") as running:
        agent = raw(running, tmp_path)
        assert running.send_wait("raw", "before")["state"] == "submitted"
        hold(agent)
        waiting = running.send("raw", "accepted before")["id"]
        running.wait_state(waiting, "held")
        disk.fill()
        refused = 0
        for number in range(40):  # the pages that the file had room for are used up first
            with contextlib.suppress(StoreFailed):
                running.send("raw", f"[{number}]" + "x" * 20_000)
                continue
            refused += 1
        assert refused > 20
        with pytest.raises(StoreFailed, match=r"disk is full.*Make room on its disk"):
            running.send("raw", "refused" + "x" * 20_000)
        let(agent)
        until(lambda: "state_file_failing" in codes(running), 45, "the finding")
        time.sleep(1.0)  # two tries at least
        typed = agent.bytes()
        assert typed in (b"before\r", b"before\raccepted before\r")  # it had a page left, or not
        disk.free()
        accepted = running.call("status")["outbox"]
        until(lambda: running.call("status")["outbox"] == 0, 45, f"the other {accepted}")
        assert "state_file_failing" not in codes(running)
        late = running.send_wait("raw", "after")
        assert late["state"] == "submitted"
        until(lambda: codes(running) == set(), 45, "a healthy status")
        running.kill()
        running.start()
        running.wait_up()
        assert running.send_wait("raw", "at last")["state"] == "submitted"
        lines = agent.bytes().split(b"\r")
        assert lines[0:2] == [b"before", b"accepted before"]
        assert lines[-3:] == [b"after", b"at last", b""]
        assert len(set(lines)) == len(lines) == 5 + 40 - refused
        assert b"refused" not in agent.bytes()


def test_a_read_only_state_directory_harms_no_running_node_and_starts_none(tmp_path: Path) -> None:
    with small_disk() as disk, node_at(disk.path / "s") as running:
        agent = raw(running, tmp_path)
        disk.read_only()
        assert running.send_wait("raw", "it has its files open")["state"] == "submitted"
        running.kill()
        code, said = start_refused(running)
        assert code == StoreFailed.exit_code
        assert "Read-only file system" in said
        assert "Make it writable." in said
        disk.writable()
        running.start()
        running.wait_up()
        assert running.send_wait("raw", "again")["state"] == "submitted"
        assert agent.bytes() == b"it has its files open\ragain\r"


def test_a_state_file_that_is_moved_away_is_noticed_and_goes_on_when_it_is_back(
    running: TestNode, tmp_path: Path
) -> None:
    agent = raw(running, tmp_path)
    hold(agent)
    held = running.send("raw", "held meanwhile")["id"]
    running.wait_state(held, "held")
    files = [running.state / name for name in ("state.db", "state.db-wal", "state.db-shm")]
    for file in files:
        file.rename(tmp_path / file.name)
    with pytest.raises(StoreFailed, match=r"removed, moved or replaced.*Put it back"):
        running.send("raw", "would be lost with the process")
    let(agent)
    until(lambda: "state_file_failing" in codes(running), 45, "the finding")
    time.sleep(1.0)
    assert agent.bytes() == b""
    for file in files:
        (tmp_path / file.name).rename(file)
    running.wait_state(held, "submitted")
    assert running.send_wait("raw", "after")["state"] == "submitted"
    until(lambda: codes(running) == set(), what="a healthy status")
    assert agent.bytes() == b"held meanwhile\rafter\r"


def test_a_state_directory_that_is_removed_is_not_written_into_and_a_new_start_finds_the_agents(
    running: TestNode, tmp_path: Path
) -> None:
    agent = raw(running, tmp_path)
    assert running.send_wait("raw", "before")["state"] == "submitted"
    broker = running.state / "broker"
    assert running.capture is not None
    running.capture.stop()
    shutil.move(broker, tmp_path / "broker")  # only to end it by its pid at the end
    log = running.state / "daemon.log"
    kept = os.open(log, os.O_RDONLY)
    shutil.rmtree(running.state)
    until(lambda: os.path.exists(running.socket), 45, "the socket")
    with pytest.raises(StoreFailed, match="start the node anew"):
        running.send("raw", "lost otherwise")
    assert "state_file_failing" in codes(running)
    assert b"control.listening_again" in os.pread(kept, 1 << 20, 0)
    os.close(kept)
    assert running.stop() == 0
    (running.state / "home").mkdir(parents=True, exist_ok=True)
    running.capture = None
    running.start()
    running.wait_up()
    assert running.send_wait("raw", "after")["state"] == "submitted"
    assert agent.bytes() == b"before\rafter\r"


def test_a_socket_that_is_removed_is_made_again(running: TestNode) -> None:
    os.unlink(running.socket)
    until(lambda: os.path.exists(running.socket), 45, "the socket")
    assert running.call("ping")["node"] == "test-node"
    os.unlink(running.socket)
    os.unlink(f"{running.socket}.lock")
    until(lambda: os.path.exists(running.socket), 45, "the socket")
    assert running.call("ping")["node"] == "test-node"
    assert start_refused(running)[1].startswith("nova-torchd: another nova-torchd (pid ")
    assert running.stop() == 0
    assert not os.path.exists(running.socket)


def test_what_another_daemon_put_in_the_place_of_the_socket_is_left_alone(running: TestNode) -> None:
    assert running.process is not None
    with node(start=False, env={"NOVA_SOCKET": running.socket, "NOVA_NODE": "other"}) as second:
        os.kill(
            running.process.pid, signal.SIGSTOP
        )  # it does not make its socket again before the other is there
        try:
            os.unlink(running.socket)
            os.unlink(f"{running.socket}.lock")
            second.process = subprocess.Popen(
                [sys.executable, "-m", "noval_d"], cwd=ROOT, env=second.environment, stderr=subprocess.DEVNULL
            )
            until(
                lambda: os.path.exists(running.socket) and _named(running) == "other", 20, "the other daemon"
            )
        finally:
            os.kill(running.process.pid, signal.SIGCONT)
        until(lambda: "control.lost" in running.log(), 45, "the line in the log")
        assert _named(running) == "other"
        running.process.terminate()
        assert running.process.wait(20) == 0
        assert _named(running) == "other"


def _named(running: TestNode) -> str:
    try:
        return str(running.call("ping")["node"])
    except NovaError:
        return ""


@pytest.mark.parametrize("place", ["below a file", "a file", "where nobody may"])
def test_a_state_directory_that_cannot_be_is_a_sentence(place: str) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, node(start=False) as running:
        file = Path(folder) / "file"
        file.touch()
        state = {"below a file": file / "s", "a file": file, "where nobody may": Path("/proc/nova")}[place]
        running.env = {"NOVA_STATE_DIR": str(state), "NOVA_SOCKET": f"{folder}/c"}
        code, said = start_refused(running)
        assert code == StoreFailed.exit_code
        assert said.startswith(f"nova-torchd: the state directory {state} cannot be made: ")
        assert said.endswith("or give another: NOVA_STATE_DIR")


def test_a_home_that_cannot_be_written_is_a_sentence() -> None:
    with node(start=False) as running:
        running.env = {"HOME": "/proc/nobody", "NOVA_SOCKET": "", "NOVA_STATE_DIR": ""}
        code, said = start_refused(running)
        assert code == StoreFailed.exit_code
        assert said.startswith("nova-torchd: the state directory /proc/nobody/")
