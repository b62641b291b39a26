"""The machine's clock jumps, an hour or a day, either way: tmux, the daemon and its broker all live by it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nova_torch.ulid import is_ulid
from tests.support.agents import held, raw, tui
from tests.support.machine import Clock, hold, let, wrong_clock
from tests.support.node import TestNode, until

HOUR, DAY = 3600, 86_400
JUMPS = (HOUR, 0, -HOUR, 0, DAY, -DAY, 0)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return wrong_clock(tmp_path)


@pytest.fixture
def running(clock: Clock) -> Iterator[TestNode]:
    with clock.node() as made:
        yield made


def ages(status: dict[str, Any]) -> list[float]:
    return [status["uptime_s"], *(row["held_s"] for row in status["held"])]


def test_messages_go_on_in_order_and_no_age_is_wrong(running: TestNode, clock: Clock, tmp_path: Path) -> None:
    """Each jump happens while one message is held, and with the next one sent behind it."""
    line, screen = raw(running, tmp_path), tui(running, tmp_path)
    for turn, jump in enumerate(JUMPS):
        hold(line)
        first = running.send("raw", f"{turn} before")["id"]
        running.wait_state(first, "held")
        clock.jump(jump)
        second = running.send("raw", f"{turn} after")["id"]
        entered = running.send_wait("claude-1", f"number {turn}")  # its Enter is guarded by tmux's clock
        assert entered["state"] == "submitted"
        until(lambda: held(running, "raw"), what="the held message")
        status = running.call("status")
        assert status["health"] == []
        assert (status["broker"]["state"], status["tmux"][0]["state"]) == ("up", "up")
        assert all(0 <= age < 120 for age in ages(status)), ages(status)
        let(line)
        running.wait_state(first, "submitted")
        receipt = running.wait_state(second, "submitted")
        assert all(0 <= ms < 60_000 for ms in receipt["timings_ms"].values())
        assert is_ulid(first)
        assert is_ulid(second)
    turns = range(len(JUMPS))
    assert line.bytes() == b"".join(b"%d before\r%d after\r" % (turn, turn) for turn in turns)
    assert screen.prompts() == [f"number {turn}" for turn in turns]
    assert "broker.down" not in running.log()
    assert running.stop() == 0


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_time_to_live_ends_though_the_clock_jumps(
    running: TestNode, clock: Clock, tmp_path: Path, jump: int
) -> None:
    """Forward it ends at once, for nobody can tell a jump from a long time; back, after the time it was given."""
    agent = raw(running, tmp_path)
    hold(agent)
    ttl_s = 300 if jump > 0 else 3  # of which nobody waits for the first
    began = time.monotonic()
    short = running.send("raw", "only for so long", ttl_s=ttl_s)["id"]
    long = running.send("raw", "for a day and more", ttl_s=2 * DAY)["id"]
    running.wait_state(short, "held")
    clock.jump(jump)
    running.wait_state(short, "expired")
    assert jump > 0 or time.monotonic() - began > 2.5
    let(agent)
    running.wait_state(long, "submitted")
    assert agent.bytes() == b"for a day and more\r"


def test_a_node_killed_before_a_jump_and_started_after_it_delivers_what_waited(
    running: TestNode, clock: Clock, tmp_path: Path
) -> None:
    agent = raw(running, tmp_path)
    for turn, jump in enumerate((-DAY, DAY)):
        hold(agent)
        sent = running.send("raw", f"waited {turn}")["id"]
        running.wait_state(sent, "held")
        running.kill()
        clock.jump(jump)
        running.start()
        running.wait_up()
        let(agent)
        running.wait_state(sent, "submitted")
        running.wait_state(running.send("raw", f"new {turn}")["id"], "submitted")
        assert running.call("status")["health"] == []
    assert agent.bytes() == b"waited 0\rnew 0\rwaited 1\rnew 1\r"
