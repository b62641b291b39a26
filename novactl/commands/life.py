"""Commands about spawned agents: start one, stop it, restart it. Progress goes to stderr, on one line."""

from __future__ import annotations

import os
import sys

from nova_torch.durations import spoken
from nova_torch.errors import InvalidRequest, NovaError, TimedOut
from novactl import out
from novactl.session import CALL_S, ask, caller, connect, given, limit_s

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from novactl.options import Values

READY_S = 60.0
STOP_S = 60.0  # quitting, SIGTERM and SIGKILL have limits of their own in the daemon
SAID = {
    "placed": "{reason}",
    "started": "started, waiting until it is ready",
    "answered": "answered its dialog {reason}, waiting until it is ready",
    "exited": "it ended ({reason}) and is started again",
    "restarting": "{reason}; starting it again",
}


def spawn(values: Values) -> int:
    """Start an agent and wait until it is ready."""
    name, command = _named(values)
    args = given(
        {
            "role": name,
            "agent_id": values["id"],
            "skills": values["skill"],
            "driver": values["driver"],
            "command": command,
            "cwd": None if values["cwd"] is None else _directory(values["cwd"]),
            "here": os.getcwd(),
            "env": _environment(values["env"]) or None,
            "prompt": values["prompt"],
            "session": values["session"],
            "restart": values["restart"],
            "allow": values["allow"],
            "node": values["node"],
            "labels": values["label"],
            "dry_run": values["dry_run"],
            **caller(),
        }
    )
    if values["dry_run"]:
        return _dry(values, args)
    agent = _followed(values, "spawn", args, values["id"] or name)
    return _shown(values, agent, "spawned")


def restart(values: Values) -> int:
    """End an agent's program, start it again and wait until it is ready."""
    args = given({"agent_id": values["agent"], "force": values["force"]})
    agent = _followed(values, "restart", args, values["agent"])
    return _shown(values, agent, "restarted")


def stop(values: Values) -> int:
    """Stop an agent; say how it ended, where its pane is kept and what became of its messages."""
    limited = values if values["timeout"] is not None else {**values, "timeout": f"{STOP_S:g}s"}
    answer = ask(limited, "stop_agent", given({"agent_id": values["agent"], "force": values["force"]}))
    if values["json"]:
        out.json_line(answer)
        return 0
    counts = {state: number for state, number in (answer.get("messages") or {}).items() if number}
    told = ", ".join(
        f"{number} message{'s' if number != 1 else ''} {state}" for state, number in counts.items()
    )
    out.line(out.safe(f"stopped {values['agent']}: {answer.get('ended')}" + (f"; {told}" if told else "")))
    out.note(out.safe(f"its pane is kept in {answer.get('archive')}"), quiet=values["quiet"])
    return 0


def _followed(values: Values, call: str, args: dict[str, Any], name: str) -> dict[str, Any]:
    """Follow a start to its end, with a line of progress; return the agent. Raises TimedOut and what stops it."""
    limit = limit_s(values, READY_S)
    progress = _Progress(quiet=values["quiet"] or values["json"])
    last: dict[str, Any] = {}
    progress.show(f"{name}: asking the node")
    try:
        with connect(values, CALL_S) as client:
            for step in client.stream(call, args, limit):
                last = dict(step)
                said = SAID.get(str(last.get("step")), "").format(reason=last.get("reason"))
                if "candidates" in last:
                    progress.show(f"{name} goes to node {last.get('node')}: {said}")
                elif said:
                    progress.show(f"{last.get('agent_id')} (pane {last.get('pane')}): {said}")
    except TimedOut:
        agent = last.get("agent_id")
        if agent is None:
            raise
        raise TimedOut(
            f"agent {agent} is not ready after {spoken(limit)}; its start goes on.",
            f"Look: novactl peek {agent}",
        ) from None
    finally:
        progress.clear()
    if last.get("step") != "ready":
        raise NovaError("the daemon stopped before the agent was ready.", "See: novactl agents")
    return last


def _dry(values: Values, args: dict[str, Any]) -> int:
    """Say where it would go, and what was looked at."""
    with connect(values, limit_s(values, CALL_S)) as client:
        (placed,) = client.stream("spawn", args, limit_s(values, CALL_S))
    if values["json"]:
        out.json_line({name: placed[name] for name in ("node", "reason", "candidates")})
        return 0
    out.table(
        ("node", "fits", "why"),
        [(one["node"], "yes" if one["fits"] else "no", one["why"]) for one in placed["candidates"]],
    )
    out.note(out.safe(f"it would go to {placed['node']}: {placed['reason']}"), quiet=values["quiet"])
    return 0


def _shown(values: Values, agent: dict[str, Any], done: str) -> int:
    if values["json"]:
        out.json_line(agent)
        return 0
    where = f"node {agent.get('node')}, " if values.get("node") or values.get("label") else ""
    about = f"{where}pane {agent.get('pane')}, {agent.get('state')}, driver {agent.get('driver')}"
    out.line(out.safe(f"{done} {agent.get('agent_id')} ({about})"))
    return 0


class _Progress:
    """One line on stderr that is written over; where stderr is no terminal, a line a step."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._over = sys.stderr is not None and sys.stderr.isatty()

    def show(self, text: str) -> None:
        if self._quiet:
            return
        if self._over:
            sys.stderr.write(f"\r\x1b[K{out.safe(text)} …")
            sys.stderr.flush()
        else:
            out.note(out.safe(text))

    def clear(self) -> None:
        if self._over and not self._quiet:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _named(values: Values) -> tuple[str, list[str]]:
    """Return the template or role that is meant, and the command: with `--role` that is every other word."""
    first, option, words = values["template"], values["role"], values["words"]
    if option is not None:
        return option, [first, *words] if first not in (None, option) else words
    if first is None:
        raise InvalidRequest("no role is given.", "Such as: novactl spawn developer --skill python")
    return first, words


def _directory(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def _environment(words: list[str]) -> dict[str, str]:
    env: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            if name not in os.environ:
                raise InvalidRequest(
                    f"the variable {name} is not set here.", f"Set it, or give its value: --env {name}=…"
                )
            value = os.environ[name]
        env[name] = value
    return env
