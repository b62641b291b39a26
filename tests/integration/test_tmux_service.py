"""The tmux server as a service of its own: what becomes of the daemon touches no agent."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from nova_torch.errors import TmuxUnavailable
from tests.support.node import ROOT, TestNode, node, until
from tests.support.spawned import spawn
from tests.support.tmux import runs

needs_tool = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and "CI" not in os.environ, reason="systemd-analyze is missing"
)

UNIT = {"NOVA_TMUX_UNIT": "nova-tmux.service"}


@contextlib.contextmanager
def served(
    made: TestNode, env: Mapping[str, str] | None = None, before: Sequence[str] = ()
) -> Iterator[subprocess.Popen[str]]:
    """What nova-tmux.service starts, in the node's place; its standard error is kept."""
    process = subprocess.Popen(
        [*before, sys.executable, "-m", "noval_d", "--serve-tmux"],
        cwd=ROOT,
        env={**made.environment, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=20)


def server_pid(made: TestNode) -> int:
    """The process that serves the node's place, 0 for none."""
    try:
        return int(made.tmux.tmux("-N", "display-message", "-p", "#{pid}"))
    except RuntimeError:
        return 0


def kill_server(made: TestNode) -> None:
    """End the server and wait for its end: until then it still answers."""
    pid = server_pid(made)
    made.tmux.tmux("kill-server")
    until(lambda: not runs(pid), what="the server's end")


@pytest.fixture
def bare() -> Iterator[TestNode]:
    """A node that is not started, without a tmux server."""
    with node(start=False, env=UNIT) as made:
        kill_server(made)
        yield made


def test_it_is_the_server_itself_and_lives_without_a_session(bare: TestNode) -> None:
    with served(bare) as service:
        until(lambda: server_pid(bare) == service.pid, what="the server")
        bare.tmux.tmux("new-session", "-d", "-s", "short", "sleep 100")
        bare.tmux.tmux("kill-session", "-t", "short")
        assert bare.tmux.tmux("-N", "display-message", "-p", "#{exit-empty}").strip() in ("0", "off")
        assert server_pid(bare) == service.pid


def test_panes_know_their_node_and_nothing_that_is_the_services_alone(bare: TestNode) -> None:
    private = {
        "NOVA_BROKER_URL": "redis://:secret@127.0.0.1:1",
        "DRAGONFLY_PASS_FILE": "/run/secret",
        "NOTIFY_SOCKET": "/run/systemd/notify",
        "CREDENTIALS_DIRECTORY": "/run/credentials/x",
        "INVOCATION_ID": "0" * 32,
        "RUNTIME_DIRECTORY": "/run/nova-torch",
        "EDITOR": "ed",
    }
    with served(bare, private) as service:
        until(lambda: server_pid(bare) == service.pid, what="the server")
        words = bare.tmux.tmux("show-environment", "-g").splitlines()
        names = {word.partition("=")[0] for word in words}
        assert names & private.keys() == {"EDITOR"}
        assert f"NOVA_SOCKET={bare.socket}" in words
        assert f"NOVA_STATE_DIR={bare.state}" in words


def test_a_server_that_somebody_else_started_is_left_alone_until_it_ends(bare: TestNode) -> None:
    bare.tmux.open("sleep 100000")
    theirs = server_pid(bare)
    with served(bare) as service:
        assert service.stderr is not None
        assert f"pid={theirs}" in service.stderr.readline()
        assert server_pid(bare) == theirs
        kill_server(bare)
        until(lambda: server_pid(bare) == service.pid, what="the service in its place")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory to another user")
def test_a_directory_of_another_user_is_refused(bare: TestNode, tmp_path: Path) -> None:
    theirs = tmp_path / "tmux-0"
    theirs.mkdir()
    os.chown(theirs, 12345, -1)
    with served(bare, {"NOVA_TMUX": str(theirs / "default")}) as service:
        _, told = service.communicate(timeout=20)
        assert service.returncode == 4
        assert "belongs to another user (uid 12345)" in told


def test_a_wrong_configuration_ends_it_with_the_code_that_no_restart_follows(bare: TestNode) -> None:
    with served(bare, {"NOVA_TMUX_SOKET": "x"}) as service:
        _, told = service.communicate(timeout=20)
        assert service.returncode == 2
        assert "soket" in told


def test_the_daemon_never_starts_a_server_that_a_unit_keeps(bare: TestNode, tmp_path: Path) -> None:
    bare.start()
    with pytest.raises(TmuxUnavailable) as refused:
        spawn(bare, tmp_path)
    assert "systemctl start nova-tmux.service" in str(refused.value)
    assert server_pid(bare) == 0
    (finding,) = (f for f in bare.call("status")["health"] if f["code"] == "tmux_absent")
    assert finding["hint"] == "Start it: systemctl start nova-tmux.service"
    with served(bare) as service:
        agent = spawn(bare, tmp_path, "worker-2")
        assert server_pid(bare) == service.pid
        assert runs(agent.pid())


def test_stop_restart_upgrade_and_kill_of_the_daemon_touch_no_agent(bare: TestNode, tmp_path: Path) -> None:
    """KillMode=process: systemd signals the daemon's main process, and nothing else."""
    with served(bare) as service:
        bare.start()
        bare.wait_up()
        agent = spawn(bare, tmp_path)
        pid = agent.pid()
        texts: list[str] = []
        for how in (signal.SIGTERM, signal.SIGKILL, signal.SIGABRT):
            text = f"before {how.name} {len(texts)}"
            bare.send_wait("worker-1", text, raw=True)
            texts.append(text)
            assert bare.process is not None
            os.kill(bare.process.pid, how)
            bare.process.wait(20)
            assert runs(pid)
            assert server_pid(bare) == service.pid
            bare.start()
            bare.wait_up()
        agent.wait_state("idle")
        assert agent.pid() == pid
        assert agent.starts() == 1
        assert agent.prompts() == texts
        assert service.poll() is None


NO_CAPABILITIES = ("setpriv", "--inh-caps=-all", "--bounding-set=-all") if os.getuid() == 0 else ()


@needs_tool
@pytest.mark.parametrize("unit", ["nova-torchd.service", "user/nova-torchd.service"])
def test_the_daemon_does_all_its_work_in_the_sandbox_of_its_unit(
    bare: TestNode, tmp_path: Path, unit: str
) -> None:
    """Start, embedded broker, spawn, hooks, typing into a composer and into a line program, stop."""
    bare.before = (
        sys.executable,
        "-m",
        "tests.support.sandbox",
        str(ROOT / "systemd" / unit),
        str(bare.state),
        "--",
    )
    with served(bare, before=NO_CAPABILITIES) as service:
        until(lambda: server_pid(bare) == service.pid, what="the server")
        bare.start()
        bare.wait_up()
        assert bare.process is not None
        status = Path(f"/proc/{bare.process.pid}/status").read_text()
        assert "Seccomp:\t2" in status
        assert "CapEff:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status
        agent = spawn(bare, tmp_path)
        text = "typed out of a sandbox " * 200
        receipt = bare.send_wait("worker-1", text, wait="acknowledged", raw=True)
        assert receipt["state"] == "acknowledged"
        assert agent.prompts() == [text.strip()]
        pane = bare.tmux.open("cat")
        bare.register("echo", pane)
        assert bare.send_wait("echo", "one line", raw=True)["state"] == "submitted"
        pid = agent.pid()
        bare.call("stop_agent", {"agent_id": "worker-1"}, timeout_s=30.0)
        until(lambda: not runs(pid), what="the agent's end")
        assert bare.stop() == 0
        assert service.poll() is None
