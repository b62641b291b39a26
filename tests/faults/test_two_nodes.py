"""Two nodes that share a tmux server, a broker or, by mistake, a state directory: each touches only its own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nova_torch.broker import Broker
from nova_torch.codec import decode_hop
from nova_torch.errors import Conflict
from nova_torch.ulid import new_ulid, stamp_ms
from nova_torch.values import Message, MessageId
from tests.faults.test_review_node import enqueue, foreign, on_broker
from tests.support.agents import raw
from tests.support.node import ROOT, TestNode, node, until

WEEK_MS = 7 * 86_400_000


@contextlib.contextmanager
def neighbour(first: TestNode, **env: str) -> Iterator[TestNode]:
    """Run a second node beside `first`, on the same broker."""
    broker = f"unix://{first.state}/broker/broker.sock"
    with node(start=False, env={"NOVA_NODE": "other", "NOVA_BROKER_URL": broker, **env}) as second:
        second.start()
        second.wait_up()
        yield second


def local(of: TestNode, name: str) -> list[str]:
    return [str(record["agent_id"]) for record in of.call("agents", {"node": name})]


def test_what_was_typed_far_away_is_not_called_expired_by_a_sender_that_died_before_it_knew(
    tmp_path: Path,
) -> None:
    with node() as owner, neighbour(owner, NOVA_FAILPOINTS="enqueue.after=kill") as sender:
        agent = raw(owner, tmp_path)
        sent = sender.send("raw", "in time", ttl_s=2)["id"]
        assert sender.process is not None
        sender.process.wait(10)
        until(lambda: agent.bytes() == b"in time\r", what="its bytes")
        until(lambda: time.time() * 1000 > stamp_ms(sent) + 2500, what="the end of its time to live")
        del sender.env["NOVA_FAILPOINTS"]
        sender.start()
        sender.wait_up()
        sender.wait_state(sent, "submitted", timeout_s=45)
        states = [hop["state"] for hop in sender.call("trace", {"id": sent})["hops"]]
        assert "expired" not in states
        assert agent.bytes() == b"in time\r"


def test_a_node_leaves_the_panes_of_another_alone(tmp_path: Path) -> None:
    with node() as first:
        agent = raw(first, tmp_path)
        with neighbour(first, NOVA_TMUX=str(first.tmux.socket_path)) as second:
            other = second.tmux  # its own server stays empty: it was told to serve the first's
            assert other.socket_path != first.tmux.socket_path
            assert local(second, "other") == []
            with pytest.raises(Conflict, match="of node test-node"):
                second.register("mine", agent.pane)
            sent = first.send("raw", "once")["id"]
            first.wait_state(sent, "submitted")
            far = second.send("raw", "from the neighbour")["id"]
            second.wait_state(far, "submitted")
            assert agent.bytes() == b"once\rfrom the neighbour\r"
            first.tmux.tmux("set-option", "-p", "-t", agent.pane, "@nova_node", "other")
            taken = first.send("raw", "into a pane that is another's now")["id"]
            first.wait_state(taken, "held")
            first.tmux.tmux("set-option", "-p", "-t", agent.pane, "@nova_node", "test-node")
            first.tmux.tmux("copy-mode", "-t", agent.pane)  # options tell nobody that they changed; this does
            until(lambda: first.tmux.value(agent.pane, "pane_in_mode") == "1", what="copy mode")
            time.sleep(1.5)  # the watch of panes reports once a second
            first.tmux.tmux("copy-mode", "-q", "-t", agent.pane)
            first.wait_state(taken, "submitted", timeout_s=45)


def test_who_asks_a_node_for_an_agent_of_another_one_is_told_which(tmp_path: Path) -> None:
    with node() as first, neighbour(first) as second:
        raw(second, tmp_path, "far")
        until(lambda: "far" in [agent["agent_id"] for agent in first.call("agents")], what="word of it")
        orders = ("peek", "inbox", "answer", "attach", "pause", "resume", "stop", "restart", "unregister")
        for words in (*((order, "far") for order in orders), ("answer", "far", "1")):
            done = first.novactl(*words)
            assert (done.returncode, done.stdout) == (1, ""), words
            assert f"agent far is on node other. There: novactl {words[0]} far" in done.stderr
        assert [agent["agent_id"] for agent in second.call("agents", {"node": "other"})] == ["far"]


def test_a_second_daemon_on_the_same_state_directory_is_refused() -> None:
    with node() as first:
        done = subprocess.run(
            [sys.executable, "-m", "noval_d"],
            cwd=ROOT,
            env={
                **first.environment,
                "NOVA_SOCKET": str(first.state / "another.sock"),
                "NOVA_NODE": "second",
            },
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert first.process is not None
        assert done.returncode == Conflict.exit_code, done.stderr
        assert f"(pid {first.process.pid}) already uses the state directory {first.state}" in done.stderr
        assert first.call("status")["broker"]["state"] == "up"


def test_a_message_older_than_the_memory_of_the_node_is_not_typed(tmp_path: Path) -> None:
    with node() as first:
        agent = raw(first, tmp_path)
        fresh = foreign(new_ulid(), "raw", "fresh")
        old = Message(
            id=MessageId(new_ulid()),
            sender=fresh.sender,
            target="raw",
            body="stale",
            created_ms=fresh.created_ms - WEEK_MS - 1000,
            headers=fresh.headers,
        )
        enqueue(first, "raw", old)
        enqueue(first, "raw", fresh)
        until(lambda: agent.bytes() == b"fresh\r", what="the fresh one alone")

        async def mail(broker: Broker) -> list[tuple[str, str, bool]]:
            hops = [decode_hop(piece.payload) for piece in await broker.mail("far", block_s=1)]
            return [(hop.message, hop.state.value, hop.final) for hop in hops]

        assert (old.id, "unconfirmed", True) in on_broker(first, mail)
        listed = first.call("dead_list", {"agent": "raw"})
        assert [(row["id"], row["state"]) for row in listed] == [(old.id, "unconfirmed")]
        assert first.call("dead_list", {"agent": "raw", "limit": 1}) == listed


def test_a_dead_letter_that_is_ordered_again_is_final_once_more_at_its_sender(tmp_path: Path) -> None:
    with node() as first, neighbour(first) as second:
        raw(second, tmp_path)
        until(lambda: local(first, "other") == ["raw"], what="the agent in the registry")
        second.call("pause", {"agent_id": "raw"})
        sent = str(first.send("raw", "try me again")["id"])
        first.wait_state(sent, "held")
        second.call("unregister", {"agent_id": "raw"})
        assert first.wait_state(sent, "failed")["final"]
        (tmp_path / "second").mkdir()
        agent = raw(second, tmp_path / "second")
        second.call("dead_retry", {"id": sent})
        assert first.wait_state(sent, "submitted")["final"]
        assert (
            agent.bytes() == b"[nova %b] try me again\r" % sent.encode() or agent.bytes() == b"try me again\r"
        )
        assert [hop["state"] for hop in first.call("trace", {"id": sent})["hops"]][-1] == "submitted"


def test_a_program_whose_name_tmux_reads_as_a_format_is_refused(tmp_path: Path) -> None:
    with node() as first:
        program = tmp_path / "a#[fg=red]b"
        program.write_bytes(Path("/bin/sleep").read_bytes())
        program.chmod(0o755)
        pane = first.tmux.open(f"'{program}' 1000")
        until(lambda: "#" in first.tmux.value(pane, "pane_current_command"), what="the program")
        with pytest.raises(Exception, match="reads as a format"):
            first.register("odd", pane)
