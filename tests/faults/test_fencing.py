"""Two daemons that both believe they own an agent: exactly one types, and what cannot be told is said to be so."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nova_torch.errors import Conflict, NotOwner
from noval_d.failpoints import VARIABLE
from tests.faults.test_two_nodes import local, neighbour
from tests.support.agents import Raw, held, raw
from tests.support.node import TestNode, node, until

LEASE_S = 2.0
SHORT_LEASE = {"NOVA_BROKER_LEASE_S": str(LEASE_S), "NOVA_BROKER_BEAT_S": "0.5"}


def arm(which: TestNode, points: str) -> None:
    """Start the daemon anew, armed."""
    assert which.stop() == 0
    which.env[VARIABLE] = points
    which.start()
    which.wait_up()
    until(lambda: which.call("agents")[0]["pane"], 45, "its pane")


def health(of: TestNode, code: str) -> dict[str, Any] | None:
    return next((check for check in of.call("status")["health"] if check["code"] == code), None)


def sees_it_elsewhere(of: TestNode) -> bool:
    found = health(of, "mailbox_not_claimed")
    return found is not None and "served by node test-node." in found["message"]


def moved(to: TestNode, folder: Path) -> Raw:
    """Register the agent again on a node, as soon as the lease of the one that had it is over."""
    folder.mkdir()
    log = folder / "raw.bytes"
    pane = to.tmux.open_program("rawlog.py", [str(log)])
    to.tmux.wait_for(pane, "READY")

    def free() -> bool:
        try:
            to.register("raw", pane)
        except (Conflict, NotOwner):
            return False
        return True

    until(free, what="the end of its lease")
    return Raw(to, "raw", pane, log)


@contextlib.contextmanager
def pair(tmp_path: Path) -> Iterator[tuple[TestNode, TestNode, Raw]]:
    """Two nodes; the second has the agent `raw` and the later epoch."""
    with node(env=SHORT_LEASE) as first:
        assert first.capture is not None
        first.capture.stop()
        first.capture = None
        with neighbour(first, **SHORT_LEASE) as second:
            agent = raw(second, tmp_path)
            until(lambda: local(first, "other") == ["raw"], what="the agent in the registry")
            yield first, second, agent


def died(which: TestNode) -> None:
    assert which.process is not None
    assert which.process.wait(20) == -signal.SIGKILL


def stopped_itself(which: TestNode) -> None:
    assert which.process is not None
    pid = which.process.pid
    until(lambda: _process_state(pid) == "T", 45, "the stop at the failpoint")


def _process_state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_an_agent_of_a_dead_node_is_taken_over_by_one_that_has_connected_before_it(tmp_path: Path) -> None:
    with pair(tmp_path) as (first, second, _):
        connected = first.log().count("broker.up")
        second.kill()
        sent = first.send("raw", "for its next place")["id"]
        agent = moved(first, tmp_path / "second")
        assert first.wait_state(sent, "submitted", timeout_s=45)["node"] == "test-node"
        assert agent.bytes() == b"for its next place\r"
        assert first.log().count("broker.up") == connected


def test_what_a_dead_owner_had_typed_and_not_settled_is_reported_and_not_typed_again(tmp_path: Path) -> None:
    with pair(tmp_path) as (first, second, before):
        arm(second, "settle.before=kill")
        sent = first.send("raw", "typed there")["id"]
        died(second)
        assert before.bytes() == b"typed there\r"
        agent = moved(first, tmp_path / "second")
        receipt = first.wait_state(sent, "unconfirmed", "submitted")
        assert (receipt["state"], receipt["final"]) == ("unconfirmed", True)
        assert "node other" in receipt["reason"]
        assert [row["id"] for row in first.call("dead_list", {"agent": "raw"})] == [sent]
        first.wait_state(first.send("raw", "typed here")["id"], "submitted")
        assert agent.bytes() == b"typed here\r"
        first.call("dead_retry", {"id": sent})  # a person has looked
        first.wait_state(sent, "submitted")
        assert agent.bytes() == b"typed here\rtyped there\r"


def test_what_a_dead_owner_had_read_and_not_begun_is_typed_by_the_next(tmp_path: Path) -> None:
    with pair(tmp_path) as (first, second, before):
        arm(second, "read.after=kill")
        sent = first.send("raw", "read there")["id"]
        died(second)
        agent = moved(first, tmp_path / "second")
        first.wait_state(sent, "submitted")
        assert (before.bytes(), agent.bytes()) == (b"", b"read there\r")


def test_a_message_that_was_only_held_is_the_next_owners(tmp_path: Path) -> None:
    with pair(tmp_path) as (first, second, before):
        second.tmux.tmux("copy-mode", "-t", before.pane)
        sent = first.send("raw", "never typed there")["id"]
        first.wait_state(sent, "held")
        second.kill()
        agent = moved(first, tmp_path / "second")
        first.wait_state(sent, "submitted")
        assert (before.bytes(), agent.bytes()) == (b"", b"never typed there\r")


def test_an_owner_that_was_stopped_past_its_lease_types_nothing_that_is_anothers(tmp_path: Path) -> None:
    with pair(tmp_path) as (first, second, before):
        arm(second, "read.after=pause")
        sent = first.send("raw", "once")["id"]
        stopped_itself(second)
        agent = moved(first, tmp_path / "second")
        first.wait_state(sent, "submitted")
        assert second.process is not None
        os.kill(second.process.pid, signal.SIGCONT)
        until(lambda: sees_it_elsewhere(second), 45, "the finding")
        own = second.send("raw", "from there")["id"]
        second.wait_state(own, "submitted")
        assert (before.bytes(), agent.bytes()) == (b"", b"once\rfrom there\r")


@pytest.mark.parametrize(("step", "typed"), [("paste.before", b""), ("paste.after", b"once\r")])
def test_an_owner_that_was_stopped_as_it_typed_is_the_only_one_that_types_it(
    tmp_path: Path, step: str, typed: bytes
) -> None:
    with pair(tmp_path) as (first, second, before):
        arm(second, f"{step}=pause")
        sent = first.send("raw", "once")["id"]
        stopped_itself(second)
        agent = moved(first, tmp_path / "second")
        first.wait_state(sent, "unconfirmed")
        assert second.process is not None
        os.kill(second.process.pid, signal.SIGCONT)  # its line comes too late for tmux to run it
        until(lambda: sees_it_elsewhere(second), 45, "the finding")
        later = first.send("raw", "later")["id"]
        first.wait_state(later, "submitted")
        until(lambda: held(second, "raw") is None, 45, "its empty hands")
        assert (before.bytes(), agent.bytes()) == (typed, b"later\r")


def test_an_owner_that_comes_back_finds_its_agent_elsewhere(tmp_path: Path) -> None:
    with pair(tmp_path) as (first, second, before):
        second.call("pause", {"agent_id": "raw"})
        own = second.send("raw", "of its own outbox")["id"]
        second.wait_state(own, "held")
        second.kill()
        agent = moved(first, tmp_path / "second")
        listed = until(lambda: first.call("dead_list", {"agent": "raw"}), 45, "the report")
        assert [(row["id"], row["state"]) for row in listed] == [(own, "unconfirmed")]
        second.start()
        until(lambda: sees_it_elsewhere(second), 45, "the finding")
        second.call("resume", {"agent_id": "raw"})
        assert second.wait_state(own, "unconfirmed")["final"]
        second.wait_state(second.send("raw", "to its new place")["id"], "submitted")
        first.wait_state(first.send("raw", "from its new place")["id"], "submitted")
        assert (before.bytes(), agent.bytes()) == (b"", b"to its new place\rfrom its new place\r")


def test_a_daemon_on_a_copied_state_directory_types_nothing_while_the_first_one_lives(tmp_path: Path) -> None:
    with node(env=SHORT_LEASE) as first:
        assert first.capture is not None
        first.capture.stop()
        first.capture = None
        agent = raw(first, tmp_path)
        first.wait_state(first.send("raw", "before")["id"], "submitted")
        first.call("pause", {"agent_id": "raw"})
        open_one = first.send("raw", "open as it was copied")["id"]
        first.wait_state(open_one, "held")
        copy = Path(tempfile.mkdtemp(prefix="nova-n-", dir="/tmp"))
        broker = f"unix://{first.state}/broker/broker.sock"
        second = TestNode(tmux=first.tmux, state=copy, env={**SHORT_LEASE, "NOVA_BROKER_URL": broker})
        try:
            for file in first.state.glob("state.db*"):
                shutil.copy(file, copy)
            (copy / "home").mkdir()
            second.start()
            found = until(lambda: health(second, "node_superseded"), 45, "the finding")
            assert "bears the name test-node" in found["message"]
            second.call("resume", {"agent_id": "raw"})
            late = second.send("raw", "over the copy")["id"]
            time.sleep(LEASE_S * 2)  # the copy has had its time
            assert agent.bytes() == b"before\r"
            assert health(first, "node_superseded") is None
            first.call("resume", {"agent_id": "raw"})
            first.wait_state(open_one, "submitted")
            first.wait_state(first.send("raw", "over the first")["id"], "submitted")
            assert first.stop() == 0
            assert second.receipt(late)["state"] in {"accepted", "held"}
            assert agent.bytes() == b"before\ropen as it was copied\rover the first\r"
        finally:
            second.clean_up()
