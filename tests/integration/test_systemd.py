"""The units are sound, and the daemon tells systemd the truth: ready, reloading, stopping."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.node import TestNode, node, until

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "systemd"
INSTALLED = re.compile(r"(?:/opt/nova-torch|%h/\.local)/bin/")  # where docs/operations.md puts the programs
TOLD_S = 20.0

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
    assert any(re.fullmatch(r"ExecStartPre=\S+/bin/novactl config validate", line) for line in lines)
    assert not any(line.startswith(("PrivateTmp", "PrivateDevices")) for line in lines)  # tmux's own places


class Manager:
    """The side of systemd: a socket that hears what a service says of itself."""

    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "notify")
        self._heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._heard.bind(self.path)
        self._heard.settimeout(TOLD_S)

    def hear(self) -> list[str]:
        """The next message's lines."""
        return self._heard.recv(4096).decode().splitlines()

    def close(self) -> None:
        self._heard.close()


@pytest.fixture
def manager() -> Iterator[Manager]:
    with tempfile.TemporaryDirectory(prefix="nv", dir="/tmp") as directory:
        made = Manager(Path(directory))
        yield made
        made.close()


@pytest.fixture
def service(manager: Manager) -> Iterator[TestNode]:
    """A daemon that was started as a Type=notify service and is not waited for."""
    with node(start=False, env={"NOTIFY_SOCKET": manager.path}) as made:
        made.start(wait=False)
        yield made


def test_ready_is_said_once_the_control_socket_answers(manager: Manager, service: TestNode) -> None:
    told = manager.hear()
    assert told[0] == "READY=1"
    assert told[1] == f"STATUS=Node test-node serves {service.socket}"
    assert service.call("ping")["node"] == "test-node"  # no retry: it answers at once


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
    assert manager.hear() == ["STOPPING=1"]  # nothing in between: the second said nothing


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
    assert manager.hear() == ["STOPPING=1"]
    assert not Path(service.socket).exists()


def test_a_socket_of_systemd_is_used_and_outlives_the_daemon(manager: Manager) -> None:
    with node(start=False) as made, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(made.socket)
        listening.listen()
        os.set_inheritable(listening.fileno(), True)
        # What systemd does before it runs the service: descriptor 3, and the pid of the very process.
        activate = 'exec 3<&"$FD"; LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" -m noval_d'
        env = {**made.environment, "NOTIFY_SOCKET": manager.path, "FD": str(listening.fileno())}
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
        until(lambda: Path(made.socket).exists(), 1, "the socket that systemd keeps")
