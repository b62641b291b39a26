"""The units are sound, and the daemon tells systemd the truth: ready, reloading, stopping."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.manager import TOLD_S, Manager, manager
from tests.support.node import TestNode, node, until

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "systemd"
INSTALLED = re.compile(r"(?:/opt/nova-torch|%h/\.local)/bin/")  # where docs/operations.md puts the programs

needs_tool = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and "CI" not in os.environ, reason="systemd-analyze is missing"
)


def verify(directory: Path, *options: str) -> tuple[int, str]:
    """Check copies of the units whose programs are those of this environment."""
    programs = Path(sys.executable).parent
    runtime = directory / "run"
    runtime.mkdir(mode=0o700)
    source = UNITS / "user" if "--user" in options else UNITS
    copies = []
    for unit in sorted([*source.glob("*.service"), *source.glob("*.socket")]):
        copies.append(directory / unit.name)
        copies[-1].write_text(INSTALLED.sub(f"{programs}/", unit.read_text()))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *options, *map(str, copies)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(runtime)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@needs_tool
@pytest.mark.parametrize("options", [(), ("--user",)], ids=["system", "user"])
def test_systemd_finds_nothing_to_say_about_the_units(tmp_path: Path, options: tuple[str, ...]) -> None:
    assert verify(tmp_path, *options) == (0, "")


@pytest.mark.parametrize("unit", ["nova-torchd.service", "user/nova-torchd.service"])
def test_stopping_the_service_ends_no_agent_and_a_crash_restarts_it(unit: str) -> None:
    lines = (UNITS / unit).read_text().splitlines()
    assert {"Type=notify", "KillMode=process", "Restart=on-failure"} <= set(lines)
    assert "ExecReload=/bin/kill -HUP $MAINPID" in lines
    assert "RestartPreventExitStatus=2" in lines  # see the next test
    assert {"Wants=nova-tmux.service", "After=nova-tmux.service"} <= {
        f"{key}={word}"
        for key, _, words in (line.partition("=") for line in lines)
        for word in words.split()
        if key in ("Wants", "After")
    }
    assert not any(line.startswith(("Requires", "BindsTo", "PartOf", "Upholds")) for line in lines)
    assert not any(line.startswith(("PrivateTmp", "PrivateDevices")) for line in lines)  # tmux's own places


@pytest.mark.parametrize("unit", ["nova-tmux.service", "user/nova-tmux.service"])
def test_nothing_of_the_daemon_stops_or_restarts_the_tmux_server(unit: str) -> None:
    lines = (UNITS / unit).read_text().splitlines()
    assert {"OOMPolicy=continue", "Restart=always", "RestartPreventExitStatus=2"} <= set(lines)
    assert not any("nova-torchd.service" in line for line in lines)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [({"NOVA_BROKER_URL": "http://x"}, "broker.url"), ({"NOVA_DELIVERY_MAX_ATEMPTS": "5"}, "max_attempts")],
)
def test_a_wrong_configuration_ends_the_daemon_with_2_and_is_named(wrong: dict[str, str], told: str) -> None:
    with node(start=False, env=wrong) as made:
        done = subprocess.run(
            [sys.executable, "-m", "noval_d"],
            cwd=ROOT,
            env=made.environment,
            capture_output=True,
            text=True,
            timeout=TOLD_S,
            check=False,
        )
        assert done.returncode == 2
        assert told in done.stderr


@needs_tool
def test_the_daemon_is_exposed_no_more_than_it_must_be() -> None:
    unit = str(UNITS / "nova-torchd.service")
    asked = ["systemd-analyze", "security", "--offline=true", "--no-pager"]
    done = subprocess.run(
        [*asked, "--threshold=20", unit], capture_output=True, text=True, timeout=60, check=False
    )
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) <= 2.0
    assert done.returncode == 0


@pytest.fixture(name="manager")
def listening() -> Iterator[Manager]:
    with manager() as made:
        yield made


@pytest.fixture
def service(manager: Manager) -> Iterator[TestNode]:
    """A daemon that was started as a Type=notify service and is not waited for."""
    with node(start=False, env={"NOTIFY_SOCKET": manager.address}) as made:
        made.start(wait=False)
        yield made


def test_ready_is_said_once_the_control_socket_answers(manager: Manager, service: TestNode) -> None:
    told = manager.hear()
    assert told[0] == "READY=1"
    assert told[1].startswith("STATUS=Node test-node: no agents; 0 messages under way; broker ")
    assert service.call("ping")["node"] == "test-node"  # no retry: it answers at once


def test_the_status_line_follows_what_happens(manager: Manager, service: TestNode) -> None:
    assert manager.hear()[0] == "READY=1"
    assert "no agents" in manager.status("broker up; tmux up")
    (pane,) = service.tmux.tmux("list-panes", "-a", "-F", "#{pane_id}").split()[:1]
    service.register("echo", pane)
    assert "no agents" not in manager.status("Node test-node: 1 ")
    service.tmux.tmux("kill-server")
    manager.status("tmux absent")


def test_nothing_is_said_of_being_ready_while_the_socket_cannot_be_made(
    manager: Manager, service: TestNode
) -> None:
    assert manager.hear()[0] == "READY=1"
    second = subprocess.run(
        [sys.executable, "-m", "noval_d"],
        cwd=ROOT,
        env={
            **service.environment,
            "NOVA_STATE_DIR": f"{service.state}/second",
            "NOVA_BROKER_URL": "unix:///none",
        },
        capture_output=True,
        text=True,
        timeout=TOLD_S,
        check=False,
    )
    assert second.returncode != 0
    assert "already serves" in second.stderr
    assert service.stop() == 0
    assert manager.hear()[0] == "STOPPING=1"  # nothing in between: the second said nothing


def test_a_reload_is_begun_and_ended(manager: Manager, service: TestNode) -> None:
    assert manager.hear()[0] == "READY=1"
    assert service.process is not None
    service.process.send_signal(signal.SIGHUP)
    assert manager.hear()[0] == "RELOADING=1"
    assert manager.hear()[0] == "READY=1"
    assert service.call("ping")["pid"] == service.process.pid


def test_the_end_is_announced_and_the_socket_is_gone_after_it(manager: Manager, service: TestNode) -> None:
    assert manager.hear()[0] == "READY=1"
    assert service.stop() == 0
    assert manager.hear()[0] == "STOPPING=1"
    assert not Path(service.socket).exists()


def test_a_socket_of_systemd_is_used_and_outlives_the_daemon(manager: Manager) -> None:
    with node(start=False) as made, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(made.socket)
        listening.listen()
        os.set_inheritable(listening.fileno(), True)
        # What systemd does before it runs the service: descriptor 3, and the pid of the very process.
        activate = 'exec 3<&"$FD"; LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" -m noval_d'
        env = {**made.environment, "NOTIFY_SOCKET": manager.address, "FD": str(listening.fileno())}
        process = subprocess.Popen(
            ["bash", "-c", activate, sys.executable],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(listening.fileno(),),
        )
        try:
            assert made.call("ping", timeout_s=TOLD_S)["pid"] == process.pid  # asked before it was up
            assert manager.hear()[0] == "READY=1"
        finally:
            process.terminate()
            process.wait(TOLD_S)
        until(lambda: Path(made.socket).exists(), 45, "the socket that systemd keeps")
