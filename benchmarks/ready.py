"""Measure how soon after an agent could be used it is READY: real agents, spawned, each told something at once."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.actors import LABS, Actor, furnished
from benchmarks.figures import Report, percentile
from benchmarks.stage import BenchNode, bench_node
from nova_torch.errors import NovaError
from nova_torch.protocol.client import Client
from tests.lab.arrived import arrived
from tests.support.node import until

STARTS = 8
READY_S = 1.0
START_S, LOOK_S = 90.0, 0.02


def run() -> list[Report]:
    report = Report(
        title="From an input box on the screen to READY: real agents, spawned",
        columns=("n", "box after s", "READY p50 s", "READY p99 s", "first message p50 s", "max s"),
    )
    for lab in LABS:
        if lab.installed().find() is None:
            report.notes.append(
                f"Not measured: {lab.kind.name} is not installed (tests.lab.install {lab.kind.name})."
            )
            continue
        boxes, lags, firsts = [], [], []
        with bench_node() as node, _folder() as folder:
            for number in range(STARTS):
                with furnished(folder, f"{lab.kind.name}-{number}", lab) as actor:
                    box_s, lag_s, first_s = _start(node, actor)
                    print(
                        f"  {actor.name}: box {box_s:.2f}, ready {lag_s:.2f}, first {first_s:.2f} s",
                        flush=True,
                    )
                    boxes.append(box_s)
                    lags.append(lag_s)
                    firsts.append(first_s)
        worst = percentile(lags, 0.99)
        report.add(
            lab.kind.name,
            str(len(lags)),
            f"{percentile(boxes, 0.5):.2f}",
            f"{percentile(lags, 0.5):.2f}",
            f"{worst:.2f}",
            f"{percentile(firsts, 0.5):.2f}",
            f"{max(firsts):.2f}",
            target=f"p99 <= {READY_S:.1f} s",
            met=worst <= READY_S,
        )
    report.notes.append(
        f"{STARTS} starts each, one after the other, each in a home of its own, with hooks where the agent has "
        "any. The box: from the call of `spawn` to the first capture of the pane, fifty a second, that shows an "
        "input box. READY is counted from there, to the step `ready` of the spawn; so is the first message, which "
        "is sent with the spawn, to the moment when the model has it. Each message was received once."
    )
    report.notes.append(
        "Codex and Gemini CLI draw a first box before they take a prompt: the time until READY is theirs, until "
        "their screen shows that the start, with its dialogs, is over. Starved of CPU they take longer."
    )
    return [report]


def _start(node: BenchNode, actor: Actor) -> tuple[float, float, float]:
    """Start one agent; return how long its box took, and READY and the first message from there."""
    ready: list[float] = []
    began = time.monotonic()
    with Client.connect(node.socket, 10.0) as client:
        steps = client.stream("spawn", actor.request(), START_S)
        first = next(steps)
        node.send(actor.name, "[[first]] are you there?")
        following = threading.Thread(target=_follow, args=(steps, ready))
        following.start()
        pane, model_at = str(first["pane"]), 0.0
        box_at = 0.0
        end = began + START_S
        while not (box_at and ready and model_at):
            assert time.monotonic() < end, f"{actor.name}: {node.tmux.capture(pane)}"
            if not box_at and actor.lab.composer(node.tmux.capture(pane)) is not None:
                box_at = time.monotonic()
            if not model_at and arrived(actor.stub.requests)["[[first]]"]:
                model_at = time.monotonic()
            time.sleep(LOOK_S)
        following.join()
    until(lambda: node.call("agents")[0]["state"] == "idle", 30.0, f"{actor.name} idle")
    assert arrived(actor.stub.requests)["[[first]]"] == 1
    node.call("stop_agent", {"agent_id": actor.name}, 60)
    return box_at - began, max(0.0, ready[0] - box_at), model_at - box_at


def _follow(steps: Iterator[object], ready: list[float]) -> None:
    with contextlib.suppress(NovaError):
        for _ in steps:
            pass
        ready.append(time.monotonic())


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="nova-r-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
