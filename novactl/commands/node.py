"""Commands about this node: start it, stop it, show how it is."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time

from nova_torch import paths
from nova_torch.config import Config, load
from nova_torch.errors import Conflict, DaemonUnreachable, InvalidRequest, NovaError, TimedOut
from nova_torch.protocol.client import Client
from nova_torch.redaction import without_password
from novactl import out
from novactl.daemon import Starting
from novactl.session import CALL_S, connect, followed, limit_s
from novactl.status import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from novactl.options import Values

START_S = 30.0
STOP_S = 30.0
PING_S = 2.0
FIRST_TRY_S = 10.0
LOOK_S = 0.05
PROGRESS_S = 1.0


def up(values: Values) -> int:
    """Start a node for this user and wait until it is ready."""
    for name, value in (("NOVA_SOCKET", values["socket"]), ("NOVA_BROKER_URL", values["broker"])):
        if value:
            os.environ[name] = os.path.abspath(value) if name == "NOVA_SOCKET" else value
    config = load(values["config"])
    if values["broker"] and without_password(values["broker"]) != values["broker"]:
        raise InvalidRequest(
            "a password on a command line is seen by every user of the machine.",
            "Put it into a file: NOVA_BROKER_PASSWORD_FILE, or broker.password_file in the configuration.",
        )
    if values["foreground"]:
        sys.stdout.flush()
        os.execv(sys.executable, Starting.command(values["config"]))  # noqa: S606  # a list, no shell
    limit = limit_s(values, START_S)
    running = ping(config.control.socket)
    if running is not None:
        _refuse_another_broker(values, config)
        return _ready(values, config, running, "already running")
    deadline = time.monotonic() + limit
    with Starting.begin(config, values["config"], deadline) as start:
        running = ping(config.control.socket) or _wait_ready(values, config, start, deadline)
    return _ready(values, config, running, "running")


def down(values: Values) -> int:
    """Stop the node in order and wait until socket and process are gone."""
    limit = limit_s(values, STOP_S)
    deadline = time.monotonic() + limit
    try:
        client = connect(values, min(limit, CALL_S))
    except DaemonUnreachable as error:
        if "not running" not in error.message:
            raise
        _refuse_another(paths.find_state_dir())
        return _say(values, {"running": False}, "nova-torchd is not running")
    with client:
        path = client.path
        pid = int(client.call("ping").get("pid") or 0)
        process = _watch_process(pid)
        with contextlib.suppress(DaemonUnreachable):  # it may be gone before its answer is
            client.call("stop")
    try:
        _wait_gone(path, process, deadline, limit)
    finally:
        if process is not None:
            os.close(process)
    return _say(values, {"running": False, "pid": pid}, f"nova-torchd stopped (pid {pid})")


def status(values: Values) -> int:
    """Show how the node is; with --watch again at every change."""
    if not values["watch"]:
        with connect(values, limit_s(values, CALL_S)) as client:
            _show_status(values, client.call("status"))
        return 0
    for item in followed(values, "status"):
        if out.on_terminal() and not values["json"]:
            out.write("\x1b[H\x1b[2J")
        _show_status(values, item)
    return 0


def ping(path: str) -> dict[str, Any] | None:
    """Return what the daemon at `path` says of itself, None when none answers there."""
    try:
        with Client.connect(path, PING_S) as client:
            answer: dict[str, Any] = client.call("ping")
            return answer
    except (DaemonUnreachable, TimedOut):
        return None
    except NovaError as error:
        if error.code in ("busy", "shutting_down"):
            return None
        raise


def _refuse_another_broker(values: Values, config: Config) -> None:
    """Raise Conflict when the daemon that runs has another broker than --broker asks for."""
    if not values["broker"]:
        return
    with Client.connect(config.control.socket, PING_S) as client:
        there = client.call("config")["broker"]["url"]
    if there != without_password(values["broker"]):
        raise Conflict(f"nova-torchd runs already, with the broker {there}.", "Stop it first: novactl down")


def _refuse_another(directory: str) -> None:
    """Raise Conflict when a daemon that listens at another socket holds this state directory."""
    path = os.path.join(directory, "lock")
    try:
        with open(path, encoding="ascii") as file, open("/proc/locks", encoding="ascii") as locks:
            pid, ours = file.read(20).strip(), f":{os.fstat(file.fileno()).st_ino}"
            rows = [row.split() for row in locks]  # read: to try the lock might stop a daemon's start
    except (OSError, ValueError):
        return
    if any(row[1] == "FLOCK" and row[4] == pid and row[5].endswith(ours) for row in rows if len(row) > 5):
        raise Conflict(
            f"nova-torchd (pid {pid}) uses {directory}, and listens at another socket.",
            f"Name that one: --socket or NOVA_SOCKET; or: kill {pid}",
        )


def _wait_ready(values: Values, config: Config, start: Starting, deadline: float) -> dict[str, Any]:
    begun = time.monotonic()
    told = False
    while True:
        code = start.ended()
        running = ping(config.control.socket)
        if running is not None:
            return running
        if code is not None:
            raise NovaError(f"nova-torchd did not start: {start.last_words(code)}", f"Its log: {start.log}")
        now = time.monotonic()
        if now >= deadline:
            raise TimedOut(
                f"nova-torchd is not ready after {now - begun:.0f} s; it goes on.", f"Its log: {start.log}"
            )
        if now - begun > PROGRESS_S and not told:
            out.note(f"waiting for nova-torchd (pid {start.pid}), log {start.log}", quiet=values["quiet"])
            told = True
        time.sleep(LOOK_S)


def _note_no_broker(values: Values, config: Config) -> None:
    """Say so when the node is ready and its broker is not: it works for its own agents alone.

    Its first try is waited for, so that the next command finds a broker which is there.
    """
    until = time.monotonic() + FIRST_TRY_S
    while True:
        try:
            with Client.connect(config.control.socket, PING_S) as client:
                health = client.call("status").get("health") or []
        except NovaError:
            return
        down = [finding for finding in health if finding.get("code") == "broker_down"]
        if not down or "not connected yet" not in down[0]["message"] or time.monotonic() > until:
            break
        time.sleep(LOOK_S)
    for finding in down:
        out.note(out.safe(f"warning: {finding['message']} {finding['hint']}"), quiet=values["quiet"])


def _ready(values: Values, config: Config, running: dict[str, Any], how: str) -> int:
    _note_no_broker(values, config)
    log = os.path.join(config.state.dir, "daemon.log")
    facts = {**running, "socket": config.control.socket, "log": log, "state_dir": config.state.dir}
    text = (
        f"nova-torchd {how}: node {running.get('node')}, pid {running.get('pid')}\n"
        f"socket {config.control.socket}\nlog {log}"
    )
    return _say(values, facts, text)


def _say(values: Values, facts: dict[str, Any], text: str) -> int:
    if values["json"]:
        out.json_line(facts)
    else:
        out.line(text)
    return 0


def _show_status(values: Values, data: dict[str, Any]) -> None:
    if values["json"]:
        out.json_line(data)
    else:
        show(data)


def _watch_process(pid: int) -> int | None:
    """Return a descriptor that becomes readable when the process ends, None when it is not there to see."""
    try:
        return os.pidfd_open(pid) if pid > 0 else None
    except OSError:
        return None


def _wait_gone(path: str, process: int | None, deadline: float, limit: float) -> None:
    while time.monotonic() < deadline:
        if process is not None:
            if not select.select([process], [], [], max(deadline - time.monotonic(), 0))[0]:
                break
            process_gone = True
        else:
            process_gone = ping(path) is None
        if process_gone and not _listening(path):
            return
        time.sleep(LOOK_S)
    raise TimedOut(
        f"nova-torchd is still there after {limit:g} s.", "See its log, or give it a longer --timeout."
    )


def _listening(path: str) -> bool:
    try:
        Client.connect(path, PING_S).close()
    except NovaError as error:
        return not isinstance(error, DaemonUnreachable)
    return True
