"""Be `schedule_with_note.sh [minutes] [note] [target]`: its arguments, its three lines, its exit codes."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nova_torch.clean import checked_body, clean
from nova_torch.errors import (
    AgentNotFound,
    DaemonUnreachable,
    InvalidRequest,
    NotDelivered,
    NovaError,
    TimedOut,
    UnknownCall,
)
from nova_torch.ulid import new_ulid
from noval_d.legacy import notes
from noval_d.legacy.asking import Asker, server_of
from noval_d.legacy.daemon import again, connected, unknown
from noval_d.legacy.road import agent_in, pane_of
from noval_d.legacy.send import failed, note, say

MINUTES, NOTE, TARGET = "3", "Standard check-in", "tmux-orc:0"
MAX_MINUTES = 366 * 24 * 60.0
_NUMBER = re.compile(r"\d+(?:\.\d*)?|\.\d+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Who will send it: a process, and the daemon's schedule if it is the daemon."""

    pid: int
    schedule: str = ""


def main(called: str, words: Sequence[str]) -> int:
    """Schedule the note; `called` is what the script was called as."""
    given = [*words[:3], "", "", ""]
    minutes, text, target = given[0] or MINUTES, given[1] or NOTE, given[2] or TARGET
    try:
        kept, now_s = _schedule(minutes, text, target, os.environ)
    except NovaError as error:
        return failed(called, error)
    say(f"Scheduling check in {minutes} minutes with note: {text}")
    say(f"Scheduled successfully - process detached (PID: {kept.pid})")
    say(f"SCHEDULED TO RUN AT: {_hour(now_s + _seconds(minutes))} (in {minutes} minutes from {_hour(now_s)})")
    if kept.schedule:
        note(called, f"nova-torchd keeps it. To cancel it: novactl schedule cancel {kept.schedule}")
    else:
        note(
            called,
            f"it waits in process {kept.pid} and does not survive a reboot. To cancel it: kill {kept.pid}",
        )
    return 0


def text_of(note_text: str, path: str) -> str:
    """Return what is typed when the time has come."""
    return f"Time for orchestrator check! {note_text} (cat {shlex.quote(path)} && novactl status)"


def _schedule(minutes: str, text: str, target: str, environment: Mapping[str, str]) -> tuple[Kept, float]:
    delay_s = _seconds(minutes)
    body = clean(checked_body(os.fsencode(text)))
    tmux = Asker(server_of(environment), environment)
    agent = agent_in(tmux, pane_of(tmux, target), environment)
    now_s, key = time.time(), new_ulid()
    written = notes.write(environment, key, minutes, body, now_s)
    told = {
        "due_s": now_s + delay_s,
        "target": target,
        "text": text_of(body, written.own),
        "log": written.log,
    }
    try:
        if agent and (socket := _by_daemon(agent, told["text"], delay_s, key, environment)):
            return Kept(pid=_detached({**told, "schedule": key, "socket": socket}), schedule=key), now_s
        return Kept(pid=_detached(told)), now_s
    except NotDelivered:
        raise  # the daemon may have it: its note stays
    except NovaError:
        os.unlink(written.own)
        raise


def _seconds(minutes: str) -> float:
    """Return the seconds of `minutes`, fractions too. Raises InvalidRequest."""
    if not _NUMBER.fullmatch(minutes) or float(minutes) > MAX_MINUTES:
        raise InvalidRequest(
            f"{minutes[:40]!r} is no number of minutes.",
            f"Give one such as 15 or 0.5, {MAX_MINUTES:.0f} at most.",
        )
    return float(minutes) * 60


def _hour(at_s: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at_s))


def _by_daemon(agent: str, text: Any, delay_s: float, key: str, environment: Mapping[str, str]) -> str:
    """Let the daemon keep the schedule; return its socket, "" when it is not there, or not this agent's."""
    client = connected(environment)
    if client is None:
        return ""
    args = {"id": key, "target": agent, "body": text, "in_s": max(delay_s, 0.001), "form": "raw"}
    args |= {"pane": environment.get("TMUX_PANE") or None, "tmux": environment.get("TMUX") or None}
    with client:
        try:
            client.call("schedule_add", args)
        except (UnknownCall, AgentNotFound):
            return ""
        except DaemonUnreachable as error:  # it may have been taken: the same id again is one schedule
            again(client.path, "schedule_add", args, error, f"novactl schedule show {key}")
        except TimedOut as error:
            raise unknown(error, f"novactl schedule show {key}") from None
    return client.path


def _detached(told: Mapping[str, Any]) -> int:
    """Start the process that waits, away from this terminal and session; return its pid. No shell takes part."""
    later = os.path.join(os.path.dirname(os.path.realpath(__file__)), "later.py")
    # one that is killed before it has read what to do does it none the less: until then the signal waits
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", later],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    assert process.stdin is not None
    process.stdin.write(json.dumps(told).encode())
    process.stdin.close()
    process.returncode = 0  # it outlives this program, which does not wait for it
    return process.pid
