"""Measure how soon a change of an agent's state is told: by its hook, and by its screen when no message waits."""

from __future__ import annotations

import contextlib
import json
import random
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.figures import Report, ms, percentile
from benchmarks.stage import BenchNode, bench_node, cached_environment
from nova_torch.errors import NovaError
from nova_torch.protocol.client import Client
from novactl.hooks.claude import command
from tests.support.agents import Tui, tui

HOOKS, SCREENS = 60, 30
HOOK_S, SCREEN_S = 0.050, 1.5
LIMIT_S = 10.0


class Events:
    """When each state of the agent was told to a reader of `novactl watch`, in monotonic seconds."""

    def __init__(self, node: BenchNode, agent: str) -> None:
        self._told: list[tuple[float, str]] = []
        self._news = threading.Condition()
        self._client = Client.connect(node.socket, 5.0)
        threading.Thread(target=self._read, args=(agent,), daemon=True).start()
        with self._news:
            assert self._news.wait(5.0)

    def _read(self, agent: str) -> None:
        with contextlib.suppress(NovaError, OSError, ValueError):
            for event in self._client.stream("watch", {"agent": agent}, None):
                with self._news:
                    if event.get("event") == "agent.state":
                        self._told.append((time.monotonic(), event["state"]))
                    self._news.notify_all()

    def after(self, began: float, state: str) -> float:
        """Return how long after `began` the state was told."""

        def found() -> float | None:
            return next((at for at, name in self._told if at >= began and name == state), None)

        with self._news:
            assert self._news.wait_for(lambda: found() is not None, LIMIT_S), f"{state} was not told"
            at = found()
        assert at is not None
        return at - began


def run() -> list[Report]:
    report = Report(
        title="From a change of an agent's state to the event", columns=("n", "p50 ms", "p99 ms", "max ms")
    )
    with bench_node() as node, tempfile.TemporaryDirectory(prefix="nova-i-", dir="/tmp") as folder:
        agent = tui(node, Path(folder), "agent", busy_s=600.0)
        events = Events(node, "agent")
        _add(report, "by screen, from the key: a draft, and its end", _drafts(agent, events), SCREEN_S)
        processes, calls = _hooks(node, agent, events)
        _add(report, "by hook, from the start of the hook's process", processes, HOOK_S)
        _add(report, "by hook, from the call on the control socket", calls, None)
    report.notes.append(
        "Read as `novactl watch` reads; no message waits. The keys are pressed at random moments; tmux tells "
        "once a second which windows drew something. The hooks are run as they are installed, a prompt and its "
        "end in turn."
    )
    return [report]


def _add(report: Report, what: str, found: list[float], target_s: float | None) -> None:
    worst = percentile(found, 0.99)
    report.add(
        what,
        str(len(found)),
        ms(percentile(found, 0.5)),
        ms(worst),
        ms(max(found)),
        target=f"p99 <= {ms(target_s)}" if target_s else "",
        met=worst <= target_s if target_s else None,
    )


def _drafts(agent: Tui, events: Events) -> list[float]:
    rng = random.Random(3)
    found: list[float] = []
    for _ in range(SCREENS):
        for press, state in (
            (lambda: agent.draft("half a thought"), "draft"),
            (lambda: agent.press("C-u"), "idle"),
        ):
            found.append(_timed(press, events, state))
            time.sleep(rng.uniform(0.0, 1.5))
    return found


def _timed(act: Callable[[], Any], events: Events, state: str) -> float:
    began = time.monotonic()
    act()
    return events.after(began, state)


def _hooks(node: BenchNode, agent: Tui, events: Events) -> tuple[list[float], list[float]]:
    server = node.tmux.value(agent.pane, "pid")
    env = {
        **{name: value for name, value in cached_environment().items() if name != "PYTHONPATH"},
        **node.environment,
        "TMUX": f"{node.tmux.socket_path},{server},0",
        "TMUX_PANE": agent.pane,
    }
    payload = json.dumps({"prompt": "go on"}).encode()

    def process(event: str) -> None:
        subprocess.run(shlex.split(command(event)), env=env, input=payload, check=True, timeout=10)

    def call(event: str) -> None:
        client.call("hook", {"pane": agent.pane, "event": event, "payload": payload})

    turns = (("UserPromptSubmit", "busy"), ("Stop", "idle"))
    processes: list[float] = []
    calls: list[float] = []
    with Client.connect(node.socket, 5.0) as client:
        for ways, found in ((process, processes), (call, calls)):
            for n in range(HOOKS):
                event, state = turns[n % 2]
                found.append(_timed(lambda: ways(event), events, state))  # noqa: B023 - run at once
                time.sleep(0.05)
    return processes, calls
