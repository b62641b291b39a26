"""A daemon that stands still for longer than its lease types nothing that another node may have by then."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nova_torch.errors import Conflict
from noval_d.failpoints import VARIABLE
from tests.faults.test_two_nodes import local, neighbour
from tests.support.agents import Raw, held, raw
from tests.support.machine import hold, let
from tests.support.node import TestNode, node, until

pytestmark = pytest.mark.slow
FAST = {"NOVA_BROKER_LEASE_S": "2", "NOVA_BROKER_BEAT_S": "0.5"}


@contextlib.contextmanager
def pair(folder: Path, failpoints: str = "") -> Iterator[tuple[TestNode, TestNode, Raw]]:
    """Two nodes on one broker; the first, with `failpoints`, has the agent `raw`."""
    (folder / "second").mkdir()
    with node(env={**FAST, VARIABLE: failpoints}) as first, neighbour(first, **FAST) as second:
        agent = raw(first, folder)
        until(lambda: local(second, "test-node") == ["raw"], what="the agent in the registry")
        yield first, second, agent


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def take(second: TestNode, folder: Path) -> Raw:
    """Register the agent on the other node, as soon as that may have it."""
    pane = second.tmux.open_program("rawlog.py", [str(folder / "second" / "raw.bytes")])
    second.tmux.wait_for(pane, "READY")

    def registered() -> bool:
        with contextlib.suppress(Conflict):
            second.register("raw", pane)
            return True
        return False

    until(registered, what="the end of the lease")
    return Raw(second, "raw", pane, folder / "second" / "raw.bytes")


@pytest.mark.parametrize("moment", ["held, sent here", "held, sent there", "about to be pasted"])
def test_what_another_node_took_over_meanwhile_is_typed_by_that_one_or_by_nobody(
    tmp_path: Path, moment: str
) -> None:
    at_paste = moment == "about to be pasted"
    with pair(tmp_path, "begin.after=pause" if at_paste else "") as (first, second, old):
        assert first.process is not None
        pid = first.process.pid
        sender = first if moment == "held, sent here" else second
        if not at_paste:
            hold(old)
        sent = sender.send("raw", "once")["id"]
        if not at_paste:
            sender.wait_state(sent, "held")
            os.kill(pid, signal.SIGSTOP)
            let(old)
        until(lambda: stopped(pid), what="the stop")
        new = take(second, tmp_path)
        # its first owner may have typed what it had begun, and without any broker what was in its own outbox
        once = b"once\r" if moment == "held, sent there" else b""
        if once:
            until(lambda: new.bytes() == once, what="the message at the new owner")
        os.kill(pid, signal.SIGCONT)
        sender.wait_state(sent, "submitted" if once else "unconfirmed")
        until(lambda: "mailbox_not_claimed" in codes(first), what="the finding")
        until(lambda: first.call("status")["outbox"] == 0, what="the receipt")
        time.sleep(1.0)  # every retry of a held message comes sooner
        assert held(first, "raw") is None
        later = second.send("raw", "later")["id"]
        second.wait_state(later, "submitted")
        assert (old.bytes(), new.bytes()) == (b"", once + b"later\r")
        second.call("unregister", {"agent_id": "raw"})
        until(lambda: "mailbox_not_claimed" not in codes(first), what="the mailbox")
        assert first.send_wait("raw", "back again")["state"] == "submitted"
        first.kill()
        first.env[VARIABLE] = ""
        first.start()
        first.wait_up()
        assert first.send_wait("raw", "after a start")["state"] == "submitted"
        assert (old.bytes(), new.bytes()) == (b"back again\rafter a start\r", once + b"later\r")


def codes(running: TestNode) -> set[str]:
    return {check["code"] for check in running.call("status")["health"]}


def test_after_a_long_stop_nothing_of_others_is_typed_before_the_lease_is_there_again(tmp_path: Path) -> None:
    with pair(tmp_path) as (first, second, agent):
        assert first.process is not None
        broker = int((first.state / "broker" / "broker.pid").read_text())
        hold(agent)
        sent = second.send("raw", "from elsewhere")["id"]
        second.wait_state(sent, "held")
        os.kill(first.process.pid, signal.SIGSTOP)
        let(agent)
        time.sleep(2.5)  # longer than its lease
        os.kill(broker, signal.SIGSTOP)
        try:
            os.kill(first.process.pid, signal.SIGCONT)
            until(lambda: (row := held(first, "raw")) and row["reason"] == "node_lost", what="the reason")
            time.sleep(1.0)  # two looks
            assert agent.bytes() == b""
        finally:
            os.kill(broker, signal.SIGCONT)
        second.wait_state(sent, "submitted")
        assert agent.bytes() == b"from elsewhere\r"


def test_a_node_that_starts_again_leaves_its_agent_to_the_living_node_that_took_it(tmp_path: Path) -> None:
    with pair(tmp_path) as (first, second, old):
        first.kill()
        new = take(second, tmp_path)
        first.start()
        first.wait_up()
        until(lambda: "mailbox_not_claimed" in codes(first), what="the finding")
        for sender in (first, second):
            sent = sender.send("raw", f"by {sender.environment['NOVA_NODE']}")["id"]
            sender.wait_state(sent, "submitted")
        assert (old.bytes(), new.bytes()) == (b"", b"by test-node\rby other\r")
        second.kill()
        until(lambda: "mailbox_not_claimed" not in codes(first), what="the mailbox of a dead node")
        assert first.send_wait("raw", "taken back")["state"] == "submitted"
        assert old.bytes() == b"taken back\r"
