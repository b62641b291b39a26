"""kill -9 of the daemon at any moment: nothing lost, nothing twice, the order of each sender kept."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import time
from pathlib import Path

import pytest

from tests.support.node import TestNode, node
from tests.support.traffic import Senders, parse, plans, read, wait_final

KILLS = 30
SENDERS, EACH = 8, 90
LARGE = [4096] * 40 + [65536] * 10 + [400_000] * 2


def kill_at_random(running: TestNode, rng: random.Random) -> None:
    """Let the daemon live for a random time, some of it too short to be ready, then kill -9 and start again."""
    if rng.random() < 0.2:
        time.sleep(rng.uniform(0.05, 0.6))
    else:
        with contextlib.suppress(AssertionError):
            running.wait_ready()
        time.sleep(rng.uniform(0.0, 1.2))
    running.kill()
    running.start(wait=False)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_thirty_kills_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    seed = int(os.environ.get("NOVA_SEED", "0")) or secrets.randbits(32)
    print(f"NOVA_SEED={seed}")
    rng = random.Random(seed)
    log = tmp_path / "log"
    sent = plans(rng, senders=SENDERS, each=EACH, large=LARGE)
    with node() as running:
        pane = running.tmux.open_program("rawlog.py", [str(log), "--bracketed"])
        running.tmux.wait_for(pane, "READY")
        running.register("raw", pane)
        senders = Senders(running, "raw", sent, pace_s=0.6, seed=seed)
        senders.start()
        for _ in range(KILLS):
            kill_at_random(running, rng)
        running.wait_ready()
        senders.join(120)
        states = wait_final(running, sent, 120)
        assert parse(read(log), sent, bracketed=True) == []
        assert states == {"submitted": SENDERS * EACH}
        assert running.stop() == 0
