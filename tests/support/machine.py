"""A machine of the test's own to break: a small disk, a clock that jumps, few descriptors; and a person at it."""

from __future__ import annotations

import contextlib
import glob
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from noval_d.canary.processes import living_in
from tests.lab.tmux import PrivateTmux
from tests.support.agents import Raw
from tests.support.node import TestNode, until


def hold(agent: Raw) -> None:
    """Somebody reads in the pane: what comes is held."""
    agent.node.tmux.tmux("copy-mode", "-t", agent.pane)
    until(lambda: agent.node.tmux.value(agent.pane, "pane_in_mode") == "1", what="copy mode")


def let(agent: Raw) -> None:
    agent.node.tmux.tmux("copy-mode", "-q", "-t", agent.pane)


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def limit_descriptors(pid: int, count: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (count, resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]))


def cpu_s(pid: int) -> float:
    """How long a process has computed so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


class Disk:
    """A file system of a few MiB."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """Leave no byte."""
        with open(self._ballast, "ab", buffering=0) as sink, contextlib.suppress(OSError):
            while True:
                sink.write(b"x" * 4096)

    def free(self) -> None:
        self._ballast.unlink()

    def read_only(self) -> None:
        """Whoever opens something from now on cannot write; who had it open goes on."""
        _run("mount", "--bind", str(self.path), str(self.path))
        _run("mount", "-o", "remount,bind,ro", str(self.path))

    def writable(self) -> None:
        _run("umount", str(self.path))


@contextlib.contextmanager
def small_disk(size: str = "4m") -> Iterator[Disk]:
    """A tmpfs at a short path; skips where nothing can be mounted."""
    path = Path(tempfile.mkdtemp(prefix="nova-disk-", dir="/tmp"))
    try:
        _run("mount", "-t", "tmpfs", "-o", f"size={size}", "nova-test", str(path))
    except (OSError, subprocess.CalledProcessError) as error:
        path.rmdir()
        pytest.skip(f"nothing can be mounted here: {error}")
    try:
        yield Disk(path)
    finally:
        while (
            subprocess.run(["umount", "--lazy", str(path)], capture_output=True, check=False).returncode == 0
        ):
            pass
        shutil.rmtree(path, ignore_errors=True)


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


class Clock:
    """The wall clock of tmux, the daemon and its broker, away from the true one by what `jump` says."""

    def __init__(self, library: str, file: Path) -> None:
        self._node: TestNode | None = None
        self._shared: set[str] = set()
        """What libfaketime made for programs of this clock, also for those that have ended since."""
        self._file = file
        self._library = library
        self._settings = {
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }
        self.jump(0)

    def jump(self, seconds: int) -> None:
        """Be so far from the true time (in one step: a reader never sees half of it)."""
        if self._node is not None:
            self._shared |= _shared_by(self._node)
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.rename(self._file)

    @contextlib.contextmanager
    def node(self) -> Iterator[TestNode]:
        """A node whose tmux server, daemon and broker all live by this clock."""
        state = Path(tempfile.mkdtemp(prefix="nova-n-", dir="/tmp"))
        env = {**self._settings, "NOVA_TEST_CLOCK": self._library}
        tmux_env = {**self._settings, "LD_PRELOAD": self._library}
        try:
            with node_at(state, tmux_env=tmux_env, env=env, module="tests.support.jumping_daemon") as made:
                self._node = made
                try:
                    yield made
                finally:
                    self._shared |= _shared_by(made)
        finally:
            self._node = None
            for name in self._shared:
                Path(name).unlink(missing_ok=True)


def _shared_by(made: TestNode) -> set[str]:
    """What libfaketime made in shared memory for these programs; it stays there when one is killed."""
    found: set[str] = set()
    pids = {process.pid for home in (made.state / "home", made.tmux.home) for process in living_in(home)}
    with contextlib.suppress(OSError):
        pids.add(int((made.state / "broker" / "broker.pid").read_text()))
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            maps = {mapped.path.removesuffix(" (deleted)") for mapped in psutil.Process(pid).memory_maps()}
            found |= {path for path in maps if path.startswith("/dev/shm/") and "faketime_s" in path}
    return found


def wrong_clock(folder: Path) -> Clock:
    """A clock to set wrong; skips where libfaketime is missing."""
    found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    if not found:
        pytest.skip("libfaketime is not installed (apt-get install faketime)")
    return Clock(found[0], folder / "clock")


@contextlib.contextmanager
def node_at(
    state: Path,
    *,
    tmux_env: dict[str, str] | None = None,
    env: dict[str, str] | None = None,
    module: str = "noval_d",
) -> Iterator[TestNode]:
    """A running node in the state directory `state`, whose machine the test breaks."""
    (state / "home").mkdir(parents=True, exist_ok=True)
    with PrivateTmux.create(env=tmux_env) as tmux:
        tmux.open("sleep 100000")
        tmux.tmux("set-environment", "-g", "-r", "LD_PRELOAD")  # not for the programs in its panes
        made = TestNode(tmux=tmux, state=state, env=env or {}, module=module)
        try:
            made.start()
            made.wait_up()
            yield made
        finally:
            made.clean_up()
