"""What a simulated fleet showed, as tables, as lines of a plot, and as a section of docs/benchmarks.md. No I/O."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.cores import WHOLE, Pace, while_whole
from benchmarks.curve import Line
from benchmarks.figures import Report, as_markdown, median, ms, percentile
from benchmarks.machine import load

PLOT = "fleet-curve.svg"
HEADING = "## The fleet, simulated"
GONE_S, LISTING_MS, DELIVERY_MS, CORE_PERCENT = 25.0, 100.0, 50.0, 5.0


@dataclass(slots=True, kw_only=True)
class Found:
    """What one fleet showed. CPU is in per cent of one core."""

    nodes: int
    agents: int
    rate: float
    start_s: float = 0.0
    sent: int = 0
    lost: int = 0
    twice: int = 0
    unsettled: int = 0
    late_p99_s: float = 0.0
    warm_at: float = 0.0
    """From here on (monotonic) what is sent is timed with the rest; what was sent before is `at_first`."""
    at_first: list[float] = field(default_factory=list)
    first_page_s: float = 0.0
    to_recorder: list[float] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)
    """When each of those was offered (monotonic)."""
    paces: list[Pace] = field(default_factory=list)
    """How fast the cores were meanwhile."""
    least_work_s: float = 0.0
    """The least that the same work took before, with nothing beside it."""
    accepting: list[float] = field(default_factory=list)
    pages: list[float] = field(default_factory=list)
    wholes: list[float] = field(default_factory=list)
    gone_s: list[float] = field(default_factory=list)
    broker_idle: float = 0.0
    broker_loaded: float = 0.0
    broker_mb: float = 0.0
    agent_bytes: float = 0.0
    message_bytes: float = 0.0
    """What the broker's data takes for each agent, its part of its node included, and for a message that waits."""
    load_idle: float = 0.0
    load_loaded: float = 0.0


def reports(curve: Sequence[Found]) -> list[Report]:
    """Return the curve as a table, and its last point held against what it must show."""
    table = Report(
        title=HEADING.removeprefix("## "),
        columns=(
            "agents", "messages", "p50 ms", "p99 ms", "a page p99 ms", "all p99 ms", "broker idle %",
            "broker loaded %", "nodes' CPU idle %", "loaded %", "broker MB",
        ),
    )  # fmt: skip
    for one in curve:
        table.add(
            f"{one.nodes} node{'s' if one.nodes > 1 else ''}", f"{one.agents}", f"{one.sent}",
            ms(median(one.to_recorder)), ms(percentile(one.to_recorder, 0.99)),
            ms(percentile(one.pages, 0.99)), ms(percentile(one.wholes, 0.99)),
            f"{one.broker_idle:.1f}", f"{one.broker_loaded:.0f}", f"{one.load_idle:.0f}",
            f"{one.load_loaded:.0f}", f"{one.broker_mb:.0f}",
        )  # fmt: skip
    last = curve[-1]
    table.notes.append(
        f"{last.rate:g} messages a second, each from a node and to an agent by chance. Delivery is from `accepted`"
        " (durable) to the recorder in tmux's place, which is told after the durable note that a paste may"
        " follow: the state files of all nodes are on this one disk. A page has 1,000 agents, `all` is the whole"
        " registry in such pages, as `novactl agents` asks, both asked of a real daemon beside them under this"
        " load. The first two seconds, in which nodes meet and connect, and the first page are counted apart."
    )
    table.notes.append(
        "CPU is in per cent of one core: the nodes share here what in a fleet each has for itself. Idle is all that"
        " goes by the clock, beats included. The broker writes its append-only file."
    )
    judged = Report(
        title=f"{last.nodes} nodes, {last.agents} agents, {last.rate:g} messages a second", columns=("",)
    )
    p99 = percentile(last.to_recorder, 0.99) * 1000
    page, whole = (percentile(times, 0.99) * 1000 for times in (last.pages, last.wholes))

    def hold(what: str, value: str, target: str, met: bool | None) -> None:
        judged.add(what, value, target=target, met=met)

    hold("accepted to the recorder, p99", f"{p99:.1f} ms", f"<= {DELIVERY_MS:g} ms", p99 <= DELIVERY_MS)
    hold("offered to accepted, p99", f"{ms(percentile(last.accepting, 0.99))} ms", "", None)
    hold("a page of 1,000 agents, p99", f"{page:.1f} ms", f"<= {LISTING_MS:g} ms", page <= LISTING_MS)
    hold(
        f"all {last.agents} agents in pages, p99",
        f"{whole:.1f} ms",
        f"<= {LISTING_MS:g} ms",
        whole <= LISTING_MS,
    )
    if last.at_first:
        hold("the first two seconds, p99", f"{ms(percentile(last.at_first, 0.99))} ms", "", None)
    hold("the first page, for which every node is read", f"{ms(last.first_page_s)} ms", "", None)
    if last.gone_s:
        slowest = max(last.gone_s)
        hold(
            "a killed node is seen as gone, by the last",
            f"{slowest:.1f} s",
            f"<= {GONE_S:g} s",
            slowest <= GONE_S,
        )
    hold(
        "the broker's CPU by the idle fleet", f"{last.broker_idle:.1f} %", f"<= {CORE_PERCENT:g} %",
        last.broker_idle <= CORE_PERCENT,
    )  # fmt: skip
    told = f"{last.lost} lost, {last.twice} twice, {last.unsettled} without a verdict"
    once = not last.lost and not last.twice and not last.unsettled
    hold(f"{last.sent} messages", told, "each once", once)
    hold("the broker's memory for each agent", f"{last.agent_bytes / 1000:.1f} kB", "", None)
    hold("the same for a message of 80 letters that waits", f"{last.message_bytes / 1000:.2f} kB", "", None)
    if last.paces:
        least, took = last.least_work_s * 1000, [took * 1000 for _, took in last.paces]
        timed = zip(last.sent_at, last.to_recorder, strict=True)
        share, fast = while_whole(last.paces, min(least, *took) / 1000, timed)
        beside = f"{least:.1f}; {min(took):.1f} to {max(took):.1f}, median {median(took):.1f}"
        hold("a fixed piece of work, ms of CPU: before; meanwhile", beside, "", None)
        if fast:
            what = f"accepted to the recorder, p99, while it took less than {WHOLE:g} times its least"
            hold(what, f"{ms(percentile(fast, 0.99))} ms ({share:.0%} of the time)", "", None)
    hold("the load came late, p99", f"{ms(last.late_p99_s)} ms", "", None)
    hold("all nodes started and had claimed", f"{last.start_s:.1f} s", "", None)
    judged.notes.append(
        "The fixed piece of work is a loop of Python. It takes longer while others have a part of these cores or of"
        " their caches: the load itself, and on a shared host its other guests, of which nothing else here tells."
    )
    judged.notes.append(f"Load of the machine (1, 5, 15 minutes) at the end: {load()}.")
    return [table, judged]


def written(document: str, found: Sequence[Report]) -> str:
    """Return docs/benchmarks.md with the section of the fleet put in place of the one it has."""
    rest = kept_apart(document)[0]
    plot = f"![Delivery, listing and the broker's CPU from 1 node to all]({PLOT})"
    how = f"Written by `python -m benchmarks fleet --write` on {time.strftime('%Y-%m-%d', time.gmtime())}."
    table, judged = map(as_markdown, found)
    head, _, body = table.partition("\n")
    return f"{rest.rstrip()}\n\n{head}\n\n{how}\n\n{plot}\n{body}\n\n{judged}\n"


def kept_apart(document: str) -> tuple[str, str]:
    """Return the document without the section of the fleet, and that section, which is its last."""
    at = document.find(f"\n{HEADING}\n")
    return (document, "") if at < 0 else (document[:at], document[at + 1 :])


def lines(curve: Sequence[Found]) -> list[Line]:
    """Return what is drawn of a curve."""
    return [
        Line("delivery p99, ms", [percentile(one.to_recorder, 0.99) * 1000 for one in curve]),
        Line("delivery p50, ms", [median(one.to_recorder) * 1000 for one in curve]),
        Line("a page of the registry p99, ms", [percentile(one.pages, 0.99) * 1000 for one in curve]),
        Line("broker idle, % of a core", [one.broker_idle for one in curve]),
    ]
