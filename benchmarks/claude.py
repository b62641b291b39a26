"""Measure how long a message into an idle, real Claude Code takes to be `acknowledged`, and on what it is spent."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.figures import Report, ms, percentile
from benchmarks.stage import BenchNode, bench_node, new_state
from noval_d.canary.model.stub_model import StubModel
from tests.lab.claude import ClaudeLab, find_claude
from tests.support.node import until

MESSAGES = 120
PAUSE_S = 0.4
"""Between the agent's end of a turn and the next message: it is idle, and drawn as such."""
P50_S, P99_S = 0.220, 0.400
LEGS = (
    ("paste", "landed", "landed: paste line written, text seen in the composer"),
    ("landed", "enter", "settle: until the Enter line is written"),
    ("enter", "enter-ran", "enter: tmux has run that line"),
    ("enter-ran", "hook-prompt", "hook: Claude takes the prompt, starts the hook, the daemon hears it"),
    ("hook-prompt", "acknowledged", "durable: matched and written to the state file"),
)


def run() -> list[Report]:
    report = Report(
        title="From the control line to `acknowledged`: an idle, real Claude Code with hooks",
        columns=("n", "p50 ms", "p99 ms", "max ms"),
    )
    if find_claude() is None:
        report.notes.append(
            "Not measured: Claude Code is not installed (python -m tests.lab.install claude)."
        )
        return [report]
    with tempfile.TemporaryDirectory(prefix="nova-tap-", dir="/tmp") as folder:
        tap = Path(folder) / "tap"
        with _stage(tap) as (node, stub):
            received = _send(node, stub)
        turns = split(tap.read_text(encoding="utf-8").splitlines())
    whole = [turn["acknowledged"] - turn["paste"] for turn in turns]
    p50, p99 = percentile(whole, 0.5), percentile(whole, 0.99)
    report.add(
        "control line written to acknowledged",
        str(len(whole)),
        ms(p50),
        ms(p99),
        ms(max(whole)),
        target=f"p50 <= {ms(P50_S)}, p99 <= {ms(P99_S)}",
        met=p50 <= P50_S and p99 <= P99_S and len(whole) >= 100,
    )
    for begin, end, what in LEGS:
        leg = [turn[end] - turn[begin] for turn in turns]
        report.add(
            f"  {what}", str(len(leg)), ms(percentile(leg, 0.5)), ms(percentile(leg, 0.99)), ms(max(leg))
        )
    report.notes.append(
        f"{MESSAGES} messages, one after the other, each to an idle agent; the model got {received}. "
        "Measured within the daemon (monotonic clock): from handing the line with load-buffer and paste-buffer to "
        "tmux's pipe, to the moment when `acknowledged` is durable."
    )
    return [report]


def split(lines: Sequence[str]) -> list[dict[str, float]]:
    """Return for each acknowledged message its moments in seconds: the first of each name since its paste."""
    turns: list[dict[str, float]] = []
    turn: dict[str, float] = {}
    for line in lines:
        name, _, at = line.partition(" ")
        if name == "paste":
            turn = {}
        turn.setdefault(name, int(at) / 1e9)
        if name == "acknowledged" and all(begin in turn and end in turn for begin, end, _ in LEGS):
            turns.append(turn)
            turn = {}
    return turns


@contextlib.contextmanager
def _stage(tap: Path) -> Iterator[tuple[BenchNode, StubModel]]:
    """A stub model, a Claude Code with our hooks, and a tapped node that serves it."""
    with (
        StubModel(delay_s=0.0) as stub,
        tempfile.TemporaryDirectory(prefix="nova-w-", dir="/tmp", ignore_cleanup_errors=True) as work,
    ):
        state = new_state()
        lab = ClaudeLab.start(
            Path(work),
            stub,
            settings=ClaudeLab.hook_settings(),
            env={"NOVA_SOCKET": str(state / "control.sock"), "NOVA_STATE_DIR": str(state)},
        )
        env = {"NOVA_TAP": str(tap)}
        with lab, bench_node(module="benchmarks.tapped", env=env, tmux=lab.server, state=state) as node:
            node.register("claude-0", lab.pane, "claude")
            yield node, stub
            node.stop()


def _send(node: BenchNode, stub: StubModel) -> str:
    """Send the messages, each when the agent is idle again; say what the model got."""
    wrong = 0
    for n in range(MESSAGES):
        marker = f"MARK{n:04}X"
        receipt = node.send("claude-0", f"please remember {marker}", sender="user:benchmark")
        node.wait_state(receipt["id"], "acknowledged", "submitted", "unconfirmed", "failed", "dead")
        until(lambda marker=marker: stub.received(marker) > 0, 20.0, f"{marker} at the model")  # type: ignore[misc]
        until(lambda: node.call("agents")[0]["state"] == "idle", 20.0, "the agent idle")
        time.sleep(PAUSE_S)
        wrong += stub.received(marker) != 1
    return "each once" if not wrong else f"{wrong} of them NOT once"
