"""Measure whole processes against `python -c pass`: `novactl send`, and the hook as it is installed."""

from __future__ import annotations

import compileall
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.figures import Report, median, ms, percentile, times
from benchmarks.stage import BenchNode, bench_node, cached_environment
from novactl.hooks.claude import command
from tests.support.node import ROOT

ROUNDS = 120
SEND_TIMES, HOOK_TIMES = 3.5, 2.5
EVENT = "UserPromptSubmit"
PAYLOAD = {"session_id": "s", "hook_event_name": EVENT, "prompt": "please review the change\n" * 10}


def run() -> list[Report]:
    for package in ("nova_torch", "novactl", "noval_d"):
        compileall.compile_dir(str(ROOT / package), quiet=2)
    with bench_node() as node:
        line = node.tmux.open("cat")
        agent = node.tmux.open("sleep 100000")
        node.register("line", line)
        node.register("agent", agent, "claude")
        return [_measure(node, agent)]


def _measure(node: BenchNode, agent: str) -> Report:
    server = node.tmux.value(agent, "pid")
    base = {
        **{name: value for name, value in cached_environment().items() if name != "PYTHONPATH"},
        **node.environment,
    }
    hooked = {**base, "TMUX": f"{node.tmux.socket_path},{server},0", "TMUX_PANE": agent}
    script = str(Path(sys.executable).with_name("novactl"))
    novactl = [script] if os.access(script, os.X_OK) else [sys.executable, "-m", "novactl.main"]
    payload = json.dumps(PAYLOAD).encode()
    cases: list[tuple[str, list[str], dict[str, str], bytes, float | None]] = [
        ("python -c pass", [sys.executable, "-c", "pass"], base, b"", None),
        ("novactl send (accepted)", [*novactl, "send", "line", "hello"], base, b"", SEND_TIMES),
        ("hook, as installed", shlex.split(command(EVENT)), hooked, payload, HOOK_TIMES),
        ("novactl status", [*novactl, "status"], base, b"", None),
    ]
    found: dict[str, list[float]] = {name: [] for name, *_ in cases}
    for turn in range(ROUNDS + 3):
        for name, argv, env, stdin, _ in cases:
            began = time.perf_counter()
            done = subprocess.run(argv, env=env, input=stdin, capture_output=True, check=False, timeout=30)
            took = time.perf_counter() - began
            assert done.returncode == 0, (name, done.stderr)
            if turn >= 3:
                found[name].append(took)
    (record,) = (row for row in node.call("agents") if row["agent_id"] == "agent")
    assert not list(node.state.glob("hooks/*")), "hooks were kept for later: the daemon did not hear them"
    pass_s = median(found["python -c pass"])
    report = Report(title="Whole processes", columns=("n", "median ms", "p99 ms", "x python -c pass"))
    for name, _, _, _, target in cases:
        mid = median(found[name])
        report.add(
            name,
            str(len(found[name])),
            ms(mid),
            ms(percentile(found[name], 0.99)),
            times(mid, pass_s),
            target=f"<= {target}x" if target else "",
            met=mid <= target * pass_s if target else None,
        )
    report.notes.append(
        f"Run in turn, {ROUNDS} rounds, start to exit, bytecode cached. The agent's state after: {record['state']}."
    )
    return report
