"""The demo's stage: two agents in a private tmux server, novactl on a terminal of its own, and a safe end."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import shlex
import shutil
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from noval_d.canary.model.stub_model import StubModel
from tests.lab.claude import ClaudeLab, find_claude
from tests.lab.rows import rows_of
from tests.lab.tmux import PROGRAMS, PrivateTmux

REPOSITORY = Path(__file__).resolve().parents[2]
NOVACTL = (sys.executable, "-m", "novactl.main")
COLUMNS, LINES = 100, 30
COMMAND_LIMIT_S = 60.0
LOOK_EVERY_S = 0.05


class DemoFailed(Exception):
    """Something was not as it should be; the text says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """An agent on the stage; `received` counts how often it took a text as a prompt."""

    name: str
    pane: str
    received: Callable[[str], int] = field(repr=False)


@dataclass(slots=True, kw_only=True)
class Stage:
    """Where the demo plays. Nothing on it knows the developer's home, settings or tmux server."""

    directory: Path
    tmux: PrivateTmux
    alice: Actor
    bob: Actor
    tool_ran: Callable[[], bool] = field(repr=False)
    """Whether somebody has approved the tool that alice asks for."""
    colours: bool

    @property
    def environment(self) -> dict[str, str]:
        """What novactl, and the daemon that it starts, run with."""
        return _novactl_environment(self.directory, self.tmux.home, self.tmux.socket_path)

    def novactl(self, *arguments: str, within: Actor | None = None) -> str:
        """Run novactl on a terminal, `within` an agent's pane as that agent would; return what it said.

        Raises DemoFailed unless it ends with 0.
        """
        environment = {**self.environment, "TERM": "xterm-256color"}
        if not self.colours:
            environment["NO_COLOR"] = "1"
        if within is not None:
            pid = self.tmux.value(within.pane, "pid")
            environment |= {"TMUX": f"{self.tmux.socket_path},{pid},0", "TMUX_PANE": within.pane}
        code, said = on_terminal([*NOVACTL, *arguments], environment)
        if code != 0:
            raise DemoFailed(f"novactl {shlex.join(arguments)} ended with {code}: {said.strip()}")
        return said

    def ask(self, *arguments: str) -> Any:
        """Run novactl with --json and return what it answers."""
        done = subprocess.run(
            [*NOVACTL, *arguments, "--json"],
            cwd=REPOSITORY,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_S,
            check=False,
        )
        if done.returncode != 0:
            raise DemoFailed(f"novactl {shlex.join(arguments)} ended with {done.returncode}: {done.stderr}")
        return json.loads(done.stdout)

    def state_of(self, actor: Actor) -> str:
        """What the daemon says an agent is doing."""
        return str(next(row["state"] for row in self.ask("agents") if row["agent_id"] == actor.name))

    def wait_agent(self, actor: Actor, state: str, timeout_s: float = 20.0) -> None:
        """Wait until the daemon sees an agent in `state`."""
        wait(lambda: self.state_of(actor) == state, timeout_s, f"{actor.name} is {state}")

    def wait_message(self, message: str, state: str, reason: str = "", timeout_s: float = 30.0) -> None:
        """Wait until a message has come into `state`, with `reason` if one is given."""

        def there() -> bool:
            found = self.ask("trace", message)
            return found["state"] == state and reason in (found["reason"] or "")

        wait(there, timeout_s, f"message {message} is {state} {reason}".rstrip())


def wait(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Wait until `condition` holds. Raises DemoFailed with `what` when it does not in time."""
    until = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > until:
            raise DemoFailed(f"not within {timeout_s:g} s: {what}")
        time.sleep(LOOK_EVERY_S)


def on_terminal(command: list[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a command on a terminal of its own; return its exit code and what it wrote there."""
    ours, theirs = pty.openpty()
    try:
        # rows, columns, and twice no pixels
        size = b"".join(n.to_bytes(2, sys.byteorder) for n in (LINES, COLUMNS, 0, 0))
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=dict(environment),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
    finally:
        os.close(theirs)
    try:
        said = _read_terminal(ours, time.monotonic() + COMMAND_LIMIT_S)
        code = process.wait(COMMAND_LIMIT_S)
    finally:
        os.close(ours)
        if process.poll() is None:
            process.kill()
            process.wait()
    return code, said.decode("utf-8", "replace").replace("\r\n", "\n")


def _read_terminal(terminal: int, until: float) -> bytes:
    """Read until everybody on the other side has closed it; the kernel says that by EIO."""
    said = b""
    while select.select([terminal], [], [], max(0.0, until - time.monotonic()))[0]:
        try:
            part = os.read(terminal, 65536)
        except OSError:
            break
        if not part:
            break
        said += part
    return said


@contextlib.contextmanager
def stage(agent: str, *, colours: bool) -> Iterator[Stage]:
    """Set up two agents of the kind `agent` (claude or tui); whatever happens, leave nothing behind."""
    directory = Path(tempfile.mkdtemp(prefix="nova-demo-", dir="/tmp" if Path("/tmp").is_dir() else None))
    build = _claude_stage if agent == "claude" else _tui_stage
    try:
        (directory / "work").mkdir()
        with build(directory, colours) as built:
            try:
                yield built
            finally:
                _stop_node(built)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _stop_node(built: Stage) -> None:
    """Stop the node in order; what does not stop lives in the stage's HOME and is ended with it."""
    with contextlib.suppress(DemoFailed, subprocess.TimeoutExpired):
        built.ask("down")


@contextlib.contextmanager
def _claude_stage(directory: Path, colours: bool) -> Iterator[Stage]:
    """Two real Claude Codes with our hooks; the stub model counts what reaches it."""
    where = _novactl_environment(directory, directory, directory)
    told = {name: where[name] for name in ("NOVA_SOCKET", "NOVA_STATE_DIR")}
    settings = json.loads(_hook_settings(directory).read_text(encoding="utf-8"))
    work = directory / "work"
    with StubModel.start(mode="tool") as stub:
        first = ClaudeLab.start(
            work, stub, settings=settings, env=told, columns=COLUMNS, lines=LINES, wait_ready=False
        )
        with first:
            pane = first.server.open(str(find_claude()), directory=work, columns=COLUMNS, lines=LINES)
            second = ClaudeLab(first.server, pane)
            first.wait_ready()
            second.wait_ready()
            yield Stage(
                directory=directory,
                tmux=first.server,
                alice=Actor(name="alice", pane=first.pane, received=stub.received),
                bob=Actor(name="bob", pane=second.pane, received=stub.received),
                tool_ran=(work / "toolran").exists,
                colours=colours,
            )


@contextlib.contextmanager
def _tui_stage(directory: Path, colours: bool) -> Iterator[Stage]:
    """Two stand-ins that look and behave like Claude Code, with our hooks; their logs count."""
    where = _novactl_environment(directory, directory, directory)
    told = {name: where[name] for name in ("NOVA_SOCKET", "NOVA_STATE_DIR")}
    hooks = json.loads(_hook_settings(directory).read_text(encoding="utf-8"))["hooks"]
    hook = hooks["Stop"][0]["hooks"][0]["command"].removesuffix(" Stop")
    interpreter = directory / "claude"  # tmux tells a program by the name it was started under
    interpreter.symlink_to(os.path.realpath(sys.executable))
    with PrivateTmux.create(env=told) as tmux:

        def actor(name: str) -> Actor:
            log = directory / f"{name}.jsonl"
            program = [str(interpreter), str(PROGRAMS / "agent_tui.py"), "--name", name]
            command = shlex.join([*program, "--log", str(log), "--hook", hook])
            pane = tmux.open(command, directory=directory / "work", columns=COLUMNS, lines=LINES)
            tmux.wait_for(pane, "? for shortcuts")
            return Actor(name=name, pane=pane, received=lambda text: _logged(log, "prompt", text))

        yield Stage(
            directory=directory,
            tmux=tmux,
            alice=actor("alice"),
            bob=actor("bob"),
            tool_ran=lambda: _logged(directory / "alice.jsonl", "approved", "") > 0,
            colours=colours,
        )


def _logged(log: Path, event: str, text: str) -> int:
    """How many logged events of a kind hold `text`."""
    return sum(text in row["text"] for row in rows_of(log) if row["event"] == event)


def _hook_settings(directory: Path) -> Path:
    """Let novactl write its hooks into a settings file of the demo's own."""
    settings = directory / "settings.json"
    done = subprocess.run(
        [*NOVACTL, "hooks", "install", "claude", "--settings", str(settings), "--quiet"],
        cwd=REPOSITORY,
        env=_novactl_environment(directory, directory, directory),
        capture_output=True,
        text=True,
        timeout=COMMAND_LIMIT_S,
        check=False,
    )
    if done.returncode != 0:
        raise DemoFailed(f"the hooks could not be installed: {done.stderr.strip()}")
    return settings


def _novactl_environment(directory: Path, home: Path, tmux: Path) -> dict[str, str]:
    """An environment of the demo's own; of the caller's only where programs are found."""
    return {
        "HOME": str(home),
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "NOVA_STATE_DIR": str(directory / "state"),
        "NOVA_SOCKET": str(directory / "state" / "control.sock"),
        "NOVA_NODE": "demo",
        "NOVA_TMUX": str(tmux),
    }
