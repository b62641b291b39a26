"""A private place to try an agent in: a HOME, a node with its own tmux server, a stub model. Then it is removed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from nova_torch.errors import DaemonUnreachable, NovaError, TimedOut
from nova_torch.protocol.client import Client
from noval_d.canary import processes
from noval_d.canary.model.stub_model import StubModel
from noval_d.canary.results import Screen
from noval_d.flock import Held, hold
from noval_d.node.directory import message_directory

T = TypeVar("T")

PREFIX = "nova-canary-"
LOCK = "lock"
TEMPORARY = "/tmp"  # noqa: S108  # a folder of our own below it, of mode 0700; a socket's path must be short
NODE_LIMIT_S = 20.0
CALL_LIMIT_S = 10.0
TMUX_LIMIT_S = 5.0
LOOK_S = 0.1
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
KEPT = ("PATH", "PYTHONPATH", "TZ")


class OutOfTime(Exception):
    """The trial's time is over."""


@dataclass(slots=True, kw_only=True)
class Stage:
    """Everything that one trial runs in. Make it with `stage`."""

    root: Path
    stub: StubModel
    until: float
    """When the trial's time is over, by the monotonic clock."""
    slow: float = 1.0
    """How many times longer than on an idle machine the agent took to be ready: so much longer is waited."""
    drivers: str = ""
    program_path: str = ""
    """Where the agent's program is: its hooks are installed by it."""

    @property
    def home(self) -> Path:
        """The HOME of everything that is started here."""
        return self.root / "home"

    @property
    def work(self) -> Path:
        """The folder that the agent works in."""
        return self.root / "work"

    @property
    def socket(self) -> str:
        """The node's control socket."""
        return str(self.root / "c")

    @property
    def environment(self) -> dict[str, str]:
        """What everything here is started with: nothing of the user's own settings.

        The proxy is the stub model, which passes nothing on: an agent that would ask the world for a release, a
        package or an account stays on loopback.
        """
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        if self.program_path:
            kept["PATH"] = f"{os.path.dirname(self.program_path)}:{kept.get('PATH', os.defpath)}"
        return {
            **kept,
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            "SHELL": "/bin/sh",
            "TERM": "tmux-256color",
            "COLORTERM": "truecolor",
            **dict.fromkeys(PROXIES, self.stub.url),
            **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
            "NOVA_SOCKET": self.socket,
            "NOVA_STATE_DIR": str(self.root / "state"),
            "NOVA_NODE": "canary",
            "NOVA_TMUX": str(self.root / "t"),
        }

    def start_node(self) -> None:
        """Start the node and wait until it answers. Raises NovaError."""
        config = self.root / "config.toml"
        drivers = f"[delivery]\ndrivers_dir = {json.dumps(self.drivers)}\n" if self.drivers else ""
        config.write_text(drivers, encoding="utf-8")
        with open(self.root / "log", "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "noval_d", "--config", str(config)],
                cwd=self.root,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + NODE_LIMIT_S
        while not self._answers():
            if process.poll() is not None or time.monotonic() > end:
                said = (self.root / "log").read_text(errors="replace").strip().splitlines()
                raise NovaError(f"the private node did not start: {said[-1] if said else 'it said nothing'}")
            time.sleep(LOOK_S)

    def _answers(self) -> bool:
        try:
            self.call("ping")
        except (DaemonUnreachable, TimedOut):
            return False
        return True

    def run_novactl(self, *words: str) -> str:
        """Run novactl here, as a user does; return what it said if it failed, else nothing."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "novactl.main", *words],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=self.left(60.0),
            check=False,
        )
        return "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"

    def left(self, limit_s: float) -> float:
        """Return `limit_s`, longer where all is slow, or what is left of the trial's time. Raises OutOfTime."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise OutOfTime
        return min(limit_s * self.slow, left)

    def wait(self, look: Callable[[], T], wanted: Callable[[T], bool], limit_s: float) -> T:
        """Look until what is seen is wanted, at most `limit_s`; return what was seen last. Raises OutOfTime."""
        end = time.monotonic() + self.left(limit_s)
        while not wanted(seen := look()) and time.monotonic() < end:
            time.sleep(LOOK_S)
        return seen

    def call(self, name: str, args: Mapping[str, Any] | None = None) -> Any:
        """Call the node. Raises NovaError."""
        with Client.connect(self.socket, CALL_LIMIT_S) as client:
            return client.call(name, dict(args or {}))

    def follow(self, name: str, args: Mapping[str, Any], limit_s: float) -> None:
        """Make a call that streams, to its end. Raises NovaError, OutOfTime."""
        with Client.connect(self.socket, CALL_LIMIT_S) as client:
            for _ in client.stream(name, dict(args), self.left(limit_s)):
                pass

    def screen(self, pane: str, driver: str) -> Screen:
        """Return what a pane shows now, and what the driver sees there."""
        return Screen(text=self.call("driver_record", {"pane": pane, "driver": driver})["text"])

    def press(self, pane: str, keys: tuple[str, ...]) -> None:
        """Press keys in a pane, as a person does. Raises NovaError."""
        done = self._tmux("send-keys", "-t", pane, *keys)
        if done is None or done.returncode:
            raise NovaError("the private tmux server does not answer.")

    def history(self, pane: str) -> list[str]:
        """Return all lines of a pane, those that have scrolled away too."""
        done = self._tmux("capture-pane", "-p", "-S", "-", "-t", pane)
        return done.stdout.decode("utf-8", "replace").splitlines() if done is not None else []

    def _tmux(self, *words: str) -> subprocess.CompletedProcess[bytes] | None:
        argv = ["tmux", "-S", str(self.root / "t"), *words]
        try:
            return subprocess.run(
                argv, env=self.environment, capture_output=True, timeout=TMUX_LIMIT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None  # it is stopped: whoever lives in this HOME is ended by pid

    def remove(self) -> None:
        """End everything that lives in this HOME, and remove the folder."""
        self.stub.stop()
        self._tmux("kill-server")
        remove(self.root)


@contextlib.contextmanager
def stage(*, drivers: str, program: str, limit_s: float) -> Iterator[Stage]:
    """Make a stage without a node, and remove it with all that was started there."""
    sweep()
    root = Path(tempfile.mkdtemp(prefix=PREFIX, dir=TEMPORARY if os.path.isdir(TEMPORARY) else None))
    lock = hold(str(root / "new"))
    (root / "new").rename(root / LOCK)  # nobody finds it before it is held
    made = Stage(
        root=root, stub=StubModel(), until=time.monotonic() + limit_s, drivers=drivers, program_path=program
    )
    try:
        made.home.mkdir()
        made.work.mkdir()
        with made.stub:
            yield made
    finally:
        made.remove()
        os.close(lock)


def sweep() -> None:
    """Remove what a trial left that was killed: a folder of ours whose lock nobody holds."""
    for root in Path(TEMPORARY).glob(f"{PREFIX}*"):
        try:
            if root.is_symlink() or root.stat().st_uid != os.geteuid() or not (root / LOCK).is_file():
                continue
            lock = hold(str(root / LOCK))
        except (Held, OSError):
            continue  # another trial's, or gone meanwhile
        try:
            remove(root)
        finally:
            os.close(lock)


def remove(root: Path) -> None:
    """End every process that lives in the HOME below `root`; remove its folders."""
    processes.end_all(root / "home")
    shutil.rmtree(message_directory(root / "state"), ignore_errors=True)
    shutil.rmtree(root, ignore_errors=True)
