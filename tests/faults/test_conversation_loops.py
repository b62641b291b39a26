"""Agents that talk to each other for ever are stopped, those that talk too fast are slowed, people never."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nova_torch.errors import DaemonUnreachable
from nova_torch.protocol.client import Client
from tests.support.agents import held, raw
from tests.support.node import TestNode, node, until
from tests.support.talkers import talker


@contextmanager
def events(running: TestNode) -> Iterator[list[dict[str, Any]]]:
    """Collect the limits that are hit."""
    found: list[dict[str, Any]] = []
    client = Client.connect(running.socket, 10.0)
    begun = threading.Event()

    def read() -> None:
        with client, contextlib.suppress(DaemonUnreachable):  # a test kills it
            for item in client.stream("watch", {}, None):
                begun.set()
                if item.get("event") == "conversation.limited":
                    found.append(item)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    assert begun.wait(10)
    yield found
    running.stop()
    thread.join(10)


def findings(running: TestNode) -> list[str]:
    return [f["message"] for f in running.call("status")["health"] if f["code"] == "conversation_stopped"]


def test_two_agents_that_answer_each_other_for_ever_are_stopped(tmp_path: Path) -> None:
    with node(env={"NOVA_DELIVERY_MAX_EXCHANGES": "4"}) as running, events(running) as limited:
        alice = talker(running, tmp_path, "alice", answer_all="and you?")
        bob = talker(running, tmp_path, "bob", answer_all="fine, and you?")
        running.send("alice", "NOVACTL<<send bob 'how are you?'>>")
        until(lambda: limited, 60, "the end of the conversation")
        (hit,) = limited
        stopped = running.wait_state(hit["id"], "failed")
        assert stopped["final"]
        assert "delivery.max_exchanges" in stopped["reason"]
        assert (hit["sender"], hit["agent"]) == ("alice", "bob")
        assert len(bob.prompts()) == 4
        assert len(alice.prompts()) == 1 + 4
        (finding,) = findings(running)
        assert hit["conversation"] in finding
        assert "dead retry" in running.novactl("status").stdout
        assert hit["id"] in running.novactl("dead", "list").stdout
        # people are heard all the same, and a person's order types what was stopped
        running.wait_state(running.send("bob", "a person's word")["id"], "submitted", "acknowledged")
        assert running.novactl("dead", "retry", hit["id"]).returncode == 0
        assert len(bob.wait_prompts(6)) == 6
        until(lambda: len(limited) == 2, 45, "the end of the answer to that")
        assert len(alice.prompts()) == 1 + 4


def test_the_end_of_a_conversation_survives_a_kill(tmp_path: Path) -> None:
    with node(env={"NOVA_DELIVERY_MAX_EXCHANGES": "2"}) as running:
        agent = raw(running, tmp_path)
        words = {"sender": "alice", "correlation_id": "one-and-the-same"}
        for number in range(2):
            running.wait_state(running.send("raw", f"word {number}", **words)["id"], "submitted")
        running.kill()
        running.start()
        running.wait_up()
        assert running.wait_state(running.send("raw", "one more", **words)["id"], "failed")["final"]
        other = running.send("raw", "another matter", sender="alice")["id"]
        running.wait_state(other, "submitted")
        assert agent.bytes() == b"word 0\rword 1\ranother matter\r"


def test_an_agent_that_sends_too_fast_is_held_and_holds_up_nobody_else(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[delivery]\npair_rate_per_minute = 3\n")
    with node(env={"NOVA_TORCH_CONFIG": str(config)}) as running, events(running) as limited:
        agent = raw(running, tmp_path)
        sent = [str(running.send("raw", f"burst {n}", sender="alice")["id"]) for n in range(5)]
        assert running.wait_state(sent[3], "held")["reason"] == "rate_limited"
        row = held(running, "raw")
        assert row is not None
        assert (row["id"], row["reason"]) == (sent[3], "rate_limited")
        assert "alice has sent 3 messages within a minute" in row["detail"]
        assert "goes on at" in row["detail"]
        assert "rate_limited" in running.novactl("status").stdout
        assert [hit["id"] for hit in limited] == [sent[3]]
        running.wait_state(running.send("raw", "a person's word")["id"], "submitted")
        running.wait_state(running.send("raw", "bob's word", sender="bob")["id"], "submitted")
        running.kill()
        running.start()
        running.wait_up()
        running.wait_state(running.send("raw", "after the kill")["id"], "submitted")
        assert running.wait_state(sent[3], "held")["reason"] == "rate_limited"
        assert agent.bytes().count(b"burst") == 3
        config.write_text("[delivery]\npair_rate_per_minute = 0\n")
        assert running.process is not None
        os.kill(running.process.pid, signal.SIGHUP)
        for message in sent:
            running.wait_state(message, "submitted", timeout_s=45)
        words = [line for line in agent.bytes().split(b"\r") if line.startswith(b"burst")]
        assert words == [b"burst %d" % n for n in range(5)]


def test_people_are_never_limited(tmp_path: Path) -> None:
    env = {"NOVA_DELIVERY_PAIR_RATE_PER_MINUTE": "1", "NOVA_DELIVERY_MAX_EXCHANGES": "1"}
    with node(env=env) as running:
        agent = raw(running, tmp_path)
        sent = [running.send("raw", f"person {n}", correlation_id="same")["id"] for n in range(20)]
        for message in sent:
            running.wait_state(str(message), "submitted")
        assert agent.bytes().count(b"person") == 20


def test_a_flood_of_one_agent_holds_up_no_person_behind_it(tmp_path: Path) -> None:
    with node(env={"NOVA_DELIVERY_PAIR_RATE_PER_MINUTE": "3"}) as running:
        agent = raw(running, tmp_path)
        flood = [str(running.send("raw", f"flood {n}", sender="alice")["id"]) for n in range(200)]
        mine = running.send("raw", "a person's word")["id"]
        running.wait_state(mine, "submitted", timeout_s=45)
        words = agent.bytes().split(b"\r")
        assert sum(word.startswith(b"flood") for word in words) == 3
        running.wait_state(flood[3], "held")
        running.call("unregister", {"agent_id": "raw"})
        assert {running.wait_state(message, "failed", "submitted")["final"] for message in flood} == {True}
