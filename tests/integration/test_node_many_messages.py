"""Many messages of every kind into one pane: each once, whole, in order, to the byte, and nothing else."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.support.node import node
from tests.support.traffic import Senders, parse, plans, read, wait_final

SENDERS, EACH = 20, 10
LARGE = [4096] * 24 + [65536] * 10 + [1 << 20] * 3
LIMIT_S = 100.0


@pytest.mark.timeout(240)
@pytest.mark.parametrize("bracketed", [False, True], ids=["plain", "bracketed"])
def test_two_hundred_messages_of_twenty_senders_arrive_once_whole_and_in_order(
    tmp_path: Path, bracketed: bool
) -> None:
    log = tmp_path / "log"
    sent = plans(random.Random(20 + bracketed), senders=SENDERS, each=EACH, large=LARGE)
    with node() as running:
        pane = running.tmux.open_program("rawlog.py", [str(log), *(["--bracketed"] if bracketed else [])])
        running.tmux.wait_for(pane, "READY")
        running.register("raw", pane)
        senders = Senders(running, "raw", sent)
        senders.start()
        senders.join(LIMIT_S)
        assert wait_final(running, sent, LIMIT_S) == {"submitted": SENDERS * EACH}
        assert parse(read(log), sent, bracketed=bracketed) == []
        assert list(Path(running.tmux.home).iterdir()) == []  # nothing ran that a body named
        assert running.call("status")["outbox"] == 0
        assert running.stop() == 0
    assert parse(read(log), sent, bracketed=bracketed) == []
