"""Run the drop-in scripts, and a plain-tmux sequence that behaves as the original's did, on the same panes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.tmux import PROGRAMS, PrivateTmux
from tests.support.cli import clean_environment
from tests.support.node import ROOT, until

SEND = str(ROOT / "legacy" / "send-claude-message.sh")
SCHEDULE = str(ROOT / "legacy" / "schedule_with_note.sh")
UTILS = ROOT / "legacy" / "tmux_utils.py"
PAUSE_S = 0.5  # between text and Enter of the original
READY = "READY"


@dataclass(frozen=True, slots=True)
class Said:
    """What a program printed and how it ended."""

    out: bytes
    err: str
    code: int


def environment(tmux: PrivateTmux, **more: str) -> dict[str, str]:
    """Return an environment without a daemon, in which NOVA_TMUX names the test's server."""
    ours = {
        "NOVA_TMUX": str(tmux.socket_path),
        "NOVA_SOCKET": str(tmux.root / "no-daemon.sock"),
        "NOVA_STATE_DIR": str(tmux.root / "state"),
        "NOVA_PYTHON": sys.executable,
        "HOME": str(tmux.home),
    }
    return clean_environment(**{**ours, **more})


def inside(tmux: PrivateTmux, pane: str, **more: str) -> dict[str, str]:
    """Return the same as a program in `pane` has it: tmux itself says which server and pane that is."""
    env = environment(tmux, **more)
    del env["NOVA_TMUX"]
    pid = tmux.tmux("display-message", "-p", "#{pid}").strip()
    return {**env, "TMUX": f"{tmux.socket_path},{pid},0", "TMUX_PANE": pane}


def run(program: str, *words: str | bytes, env: dict[str, str], timeout_s: float = 40.0) -> Said:
    """Run one of the scripts."""
    done = subprocess.run([program, *words], env=env, capture_output=True, timeout=timeout_s, check=False)
    return Said(done.stdout, done.stderr.decode("utf-8", "replace"), done.returncode)


def original(env: dict[str, str], target: str, *message: str, pause_s: float = PAUSE_S) -> Said:
    """Do what the original did: text by name, a pause, Enter; say the same whatever tmux says."""
    text = " ".join(message)
    server = ["-S", env["NOVA_TMUX"]] if "NOVA_TMUX" in env else []
    said = b""
    for keys in (text, "Enter"):
        done = subprocess.run(
            ["tmux", *server, "send-keys", "-t", target, keys], env=env, capture_output=True, check=False
        )
        said += done.stderr
        if keys is text:
            time.sleep(pause_s)
    return Said(f"Message sent to {target}: {text}\n".encode(), said.decode(), 0)


@dataclass(slots=True)
class Window:
    """A window whose program logs every byte it gets."""

    tmux: PrivateTmux
    pane: str
    log: Path
    taken: int = 0

    def fresh(self, count: int | None = None) -> bytes:
        """Return what came since last asked, once it ends with Enter (or has `count` bytes)."""

        def enough() -> bytes:
            new = self.log.read_bytes()[self.taken :] if self.log.exists() else b""
            return new if (len(new) >= count if count is not None else new.endswith(b"\r")) else b""

        new: bytes = until(enough, 10, f"the bytes in {self.log.name}")
        self.taken += len(new)
        return new

    def nothing(self) -> bool:
        """Tell whether nothing came since last asked."""
        return not self.log.exists() or self.log.stat().st_size == self.taken


def window(tmux: PrivateTmux, folder: Path, where: Sequence[str], name: str) -> Window:
    """Open a raw-logging program with a tmux command such as `new-session -d -s alpha`."""
    log = folder / f"{name}.bytes"
    program = [sys.executable, str(PROGRAMS / "rawlog.py"), str(log)]
    start = ["start-server", ";"] if where[0] == "new-session" else []
    pane = tmux.tmux(*start, *where, "-P", "-F", "#{pane_id}", *program).strip()
    tmux.wait_for(pane, READY)
    return Window(tmux, pane, log)


def running(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def own_claude(folder: Path) -> str:
    """Return a Python whose process is called `claude`."""
    link = folder / "claude"
    if not link.exists():
        link.symlink_to(os.path.realpath(sys.executable))
    return str(link)


def sent(target: str, text: str) -> Said:
    return Said(f"Message sent to {target}: {text}\n".encode(), "", 0)


def refused(said: Said, code: int, sentence: str) -> None:
    assert (said.out, said.code) == (b"", code), said
    assert said.err.startswith("send-claude-message.sh: ")
    assert said.err.count("\n") == 1
    assert sentence in said.err
