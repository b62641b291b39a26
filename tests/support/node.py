"""Run a whole node for a test: the real daemon as a process, its embedded broker, a private tmux server."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nova_torch.errors import NovaError
from nova_torch.protocol.client import Client
from noval_d.node.directory import message_directory
from tests.lab.tmux import LOOK_EVERY_S, LOOK_LESS, LOOK_SELDOM_S, PrivateTmux
from tests.support.capture import Capture

ROOT = Path(__file__).resolve().parents[2]
START_S = 45.0


def until(condition: Callable[[], Any], timeout_s: float = 45.0, what: str = "it") -> Any:
    """Return the first true value of `condition`; fail with `what` when none comes in time.

    It looks less often the longer it takes: most conditions ask the daemon, beside seven other tests.
    """
    end, pause_s = time.monotonic() + timeout_s, LOOK_EVERY_S
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"{what} did not come within {timeout_s} s"
        time.sleep(pause_s)
        pause_s = min(pause_s * LOOK_LESS, LOOK_SELDOM_S)


@dataclass(slots=True)
class TestNode:
    """A daemon with its own state directory and socket, serving `tmux`."""

    __test__ = False

    tmux: PrivateTmux
    state: Path
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    capture: Capture | None = None
    module: str = "noval_d"
    """What Python runs as the daemon."""
    before: tuple[str, ...] = ()
    """What runs that Python."""

    @property
    def socket(self) -> str:
        return str(self.state / "control.sock")

    @property
    def environment(self) -> dict[str, str]:
        """What the daemon and novactl run with; nothing of the developer's own settings."""
        return {
            "HOME": str(self.state / "home"),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "NOVA_SOCKET": self.socket,
            "NOVA_STATE_DIR": str(self.state),
            "NOVA_NODE": "test-node",
            "NOVA_TMUX": str(self.tmux.socket_path),
            **self.env,
        }

    def start(self, *, wait: bool = True) -> None:
        """Start the daemon; return when its socket answers."""
        log = open(self.state / "daemon.log", "ab")  # noqa: SIM115 - the child's
        with log:
            self.process = subprocess.Popen(
                [*self.before, sys.executable, "-m", self.module],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        until(self._answers, START_S, f"the daemon's answer ({self.log()[-2000:]})")

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the daemon ended: {self.log()[-4000:]}"
        try:
            self.call("ping")
        except NovaError:
            return False
        return True

    def wait_up(self) -> None:
        """Wait until broker and tmux are up as well."""

        def up() -> bool:
            status = self.call("status")
            return bool(status["broker"]["state"] == "up" and status["tmux"][0]["state"] == "up")

        until(up, START_S, f"broker and tmux ({self.log()[-2000:]})")
        if self.capture is None and "NOVA_BROKER_URL" not in self.env:
            self.capture = Capture(str(self.state / "broker" / "broker.sock"))
            self.capture.start()

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(45)

    def stop(self) -> int:
        """SIGTERM; return the exit code."""
        assert self.process is not None
        if self.capture is not None:
            self.capture.stop()
        self.process.terminate()
        try:
            return self.process.wait(45)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
            raise AssertionError(f"the daemon did not stop: {self.log()[-4000:]}") from None

    def log(self) -> str:
        path = self.state / "daemon.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def call(self, name: str, args: Mapping[str, Any] | None = None, timeout_s: float = 10.0) -> Any:
        with Client.connect(self.socket, timeout_s) as client:
            return client.call(name, dict(args or {}))

    def register(self, agent: str, pane: str, driver: str = "line") -> Any:
        return self.call("register", {"agent_id": agent, "pane": pane, "driver": driver})

    def send(self, target: str, body: str | bytes, **options: Any) -> dict[str, Any]:
        """Send and return the accepted receipt."""
        return dict(self.call("send", {"target": target, "body": body, **options}))

    def send_wait(
        self,
        target: str,
        body: str | bytes,
        *,
        wait: str = "submitted",
        timeout_s: float = 30.0,
        **options: Any,
    ) -> dict[str, Any]:
        """Send and follow to the state that is waited for; return the last receipt."""
        receipt: dict[str, Any] = {}
        args = {"target": target, "body": body, "wait": wait, **options}
        with Client.connect(self.socket, 10.0) as client:
            for update in client.stream("send", args, timeout_s):
                receipt = update
        return receipt

    def receipt(self, message_id: str) -> dict[str, Any]:
        return dict(self.call("follow", {"id": message_id}))

    def wait_state(self, message_id: str, *states: str, timeout_s: float = 45.0) -> dict[str, Any]:
        """Wait until a message is in one of `states`."""
        try:
            return dict(
                until(
                    lambda: (r := self.receipt(message_id))["state"] in states and r, timeout_s, str(states)
                )
            )
        except AssertionError:
            trace = json.dumps(self.call("trace", {"id": message_id}), indent=1)
            raise AssertionError(f"not {states}: {trace}\n{self.log()[-3000:]}") from None

    def novactl(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "novactl.main", *arguments],
            cwd=ROOT,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def clean_up(self) -> None:
        """End the daemon and the broker it left, by pid, whatever state they are in."""
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(AssertionError):
                self.stop()
        pid_file = self.state / "broker" / "broker.pid"
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(pid_file.read_text().strip()), signal.SIGKILL)
        if self.capture is not None:
            self.capture.stop()
        shutil.rmtree(message_directory(self.state), ignore_errors=True)
        shutil.rmtree(self.state, ignore_errors=True)


@contextlib.contextmanager
def node(*, start: bool = True, env: Mapping[str, str] | None = None) -> Iterator[TestNode]:
    """Give a running node with an empty private tmux server; leave nothing behind."""
    state = Path(tempfile.mkdtemp(prefix="nova-n-", dir="/tmp"))
    (state / "home").mkdir()
    with PrivateTmux.create() as tmux:
        tmux.open("sleep 100000")
        made = TestNode(tmux=tmux, state=state, env=dict(env or {}))
        try:
            if start:
                made.start()
                made.wait_up()
            yield made
        finally:
            made.clean_up()
    if made.capture is not None:
        made.capture.verify()
