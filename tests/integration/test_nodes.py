"""Nodes of a fleet: what each tells of itself, draining with what it has, and forgetting one that is gone."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nova_torch.blobs import read_blob, write_blob
from nova_torch.broker import Broker
from nova_torch.errors import Conflict, NotFound
from nova_torch.nodes import NodeCard
from noval_d.fleet.others import write_order
from tests.faults.test_review_node import on_broker
from tests.faults.test_two_nodes import neighbour
from tests.support.agents import raw
from tests.support.node import TestNode, node, until
from tests.support.tmux import runs

SHORT = {"NOVA_BROKER_LEASE_S": "2", "NOVA_BROKER_BEAT_S": "0.5"}


def nodes(of: TestNode) -> dict[str, dict[str, Any]]:
    return {row["node"]: row for row in of.call("node_list")}


def state_is(of: TestNode, name: str, *states: str) -> None:
    until(lambda: nodes(of).get(name, {}).get("state") in states, 45, f"{name} {states}, not {nodes(of)}")


def spawn(of: TestNode, name: str, folder: Path, role: str = "worker") -> None:
    log = folder / f"{name}.bytes"
    done = of.novactl(
        "spawn", role, "--id", name, "--driver", "line", "--cwd", str(folder),
        "--", "sh", "-c", f"exec cat >> {log}",
    )  # fmt: skip
    assert done.returncode == 0, done


def test_nodes_tell_of_themselves_drain_resume_and_are_forgotten(tmp_path: Path) -> None:
    labels = {"NOVA_NODE_LABELS": "zone=eu,gpu", "NOVA_NODE_MAX_AGENTS": "3", **SHORT}
    with node(env=SHORT) as first, neighbour(first, **labels) as second:
        raw(first, tmp_path, "here")
        spawn(second, "w1", tmp_path)
        other = until(lambda: (row := nodes(first).get("other", {})).get("agents") == 1 and row, what="other")
        assert (other["state"], other["labels"], other["free"]) == ("ready", ["zone=eu", "gpu"], 2)
        until(lambda: nodes(first)["other"]["load"]["cpu_percent"] is not None, what="its load")
        listed = first.novactl("node", "list")
        assert [line.split("\t")[:3] for line in listed.stdout.splitlines()] == [
            ["other", "ready", "zone=eu,gpu"],
            ["test-node", "ready", ""],
        ]
        shown = first.novactl("node", "show", "other")
        assert "agent\t" not in shown.stdout
        assert "w1\t" in shown.stdout
        unknown = first.novactl("node", "show", "othr")
        assert (unknown.returncode, "Did you mean other?" in unknown.stderr) == (5, True), unknown.stderr

        refused = first.novactl("node", "drain", "other")
        assert refused.returncode == 1
        assert "last that takes anything new with an agent of the role worker" in refused.stderr
        assert "--force" in refused.stderr
        # a message that waits is brought to its end first: the agent is stopped only then
        second.call("pause", {"agent_id": "w1"})
        sent = str(first.send("w1", "the last thing")["id"])
        first.wait_state(sent, "held")
        assert first.novactl("node", "drain", "other", "--force").returncode == 0
        state_is(first, "other", "draining")
        with pytest.raises(Conflict, match="drains"):
            second.call("spawn", {"role": "worker", "driver": "line", "command": ["sleep", "9"]})
        assert nodes(second)["other"]["open"] == ["w1"]
        second.stop()  # the order outlives a restart
        second.start()
        second.wait_up()
        state_is(second, "other", "draining")
        second.call("resume", {"agent_id": "w1"})
        first.wait_state(sent, "submitted")
        until(lambda: not second.call("agents", {"node": "other"}), 45, "w1 stopped")
        assert (tmp_path / "w1.bytes").read_bytes() == b"the last thing\n"
        assert json.loads(first.novactl("node", "show", "other", "--json").stdout)["agents"] == 0
        assert first.novactl("node", "resume", "other").returncode == 0
        state_is(first, "other", "ready")
        spawn(second, "w2", tmp_path)

        with pytest.raises(Conflict, match="lives"):
            first.call("node_remove", {"name": "other"})
        second.stop()
        state_is(first, "other", "down")
        assert [row["state"] for row in first.call("agents", {"node": "other"})] == ["lost"]
        kept = str(first.send("w2", "for nobody")["id"])
        first.wait_state(kept, "queued")
        with pytest.raises(Conflict, match="1 for w2"):
            first.call("node_remove", {"name": "other"})
        assert first.call("node_remove", {"name": "other", "force": True}) == {
            "node": "other",
            "agents": 1,
            "dropped": 1,
        }
        assert first.wait_state(kept, "failed")["reason"] == "node other was removed"
        assert list(nodes(first)) == ["test-node"]
        with pytest.raises(NotFound, match="no node 'other'"):
            first.call("node_drain", {"name": "other"})
        second.start()  # and one that comes back after all is there again
        state_is(first, "other", "ready")


def test_a_node_that_does_not_answer_is_said_to_be_ordered_to_drain_not_to_drain(tmp_path: Path) -> None:
    with node(env=SHORT) as first, neighbour(first, NOVA_BROKER_BEAT_S="0.5") as second:
        state_is(first, "other", "ready")
        assert second.process is not None
        os.kill(second.process.pid, signal.SIGSTOP)
        try:
            told = first.novactl("node", "drain", "other")
            assert (
                told.returncode,
                "node other is ordered to drain; it has not answered yet" in told.stdout,
            ) == (
                0,
                True,
            ), told
        finally:
            os.kill(second.process.pid, signal.SIGCONT)
        until(lambda: (row := nodes(first)["other"])["drain"] and not row["order"], what="its drain")
        assert first.novactl("node", "resume", "other").stdout == "node other takes new agents again\n"
        assert first.call("node_drain", {"name": "other"})["state"] == "draining"
        row = nodes(first)["other"]
        assert (row["state"], row["drain"] is not None, row["order"]) == ("draining", True, "")


def test_a_deadline_that_is_over_while_the_node_is_down_ends_its_agents_at_the_start(tmp_path: Path) -> None:
    with node() as made:
        spawn(made, "w1", tmp_path)
        pane = made.call("agents")[0]["pane"]
        pid = int(made.tmux.value(pane, "pane_pid"))
        made.call("pause", {"agent_id": "w1"})
        waiting = str(made.send("w1", "never typed")["id"])
        made.wait_state(waiting, "held")
        assert made.novactl("node", "drain", "--force", "--deadline", "2s").returncode == 0
        assert "not done: w1" in made.novactl("node", "show").stdout
        made.kill()
        over_ms = time.time_ns() // 1_000_000 + 2000
        until(lambda: time.time_ns() // 1_000_000 > over_ms, what="the deadline")
        made.start()
        assert made.wait_state(waiting, "failed")["reason"] == "agent w1 was stopped"
        made.wait_up()
        until(lambda: not made.call("agents"), what="its end")
        assert not runs(pid)
        (archive,) = (made.state / "archive").iterdir()
        assert json.loads((archive / "summary.json").read_text())["ended"] == "it ended on SIGTERM"
        assert made.novactl("node", "resume").returncode == 0
        spawn(made, "w2", tmp_path)
        made.call("pause", {"agent_id": "w2"})
        made.wait_state(str(made.send("w2", "held")["id"]), "held")
        assert "not done" not in made.novactl("node", "show").stdout  # it does not drain


def at_once(*calls: Callable[[], Any]) -> list[str]:
    """Make calls at the same time; give what each was refused with, empty where it was not."""
    ready = threading.Barrier(len(calls))

    def made(call: Callable[[], Any]) -> str:
        ready.wait(10)
        try:
            call()
        except Conflict as refused:
            return refused.message
        return ""

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(made, calls))


def draining(at: TestNode) -> list[str]:
    return [name for name, row in nodes(at).items() if row["state"] == "draining"]


def test_of_the_last_two_nodes_of_a_role_that_are_drained_at_once_one_stays(tmp_path: Path) -> None:
    with node(env=SHORT) as first, neighbour(first, **SHORT) as second:
        both = (first, second)
        for number, at in enumerate(both):
            spawn(at, f"w{number}", tmp_path)
            at.call("pause", {"agent_id": f"w{number}"})
            waits = at.send(f"w{number}", "so that it is not done")["id"]  # else a node that drains ends it
            at.wait_state(waits, "held")
        until(
            lambda: [len(at.call("agents", {"role": "worker"})) for at in both] == [2, 2], 10, "both see both"
        )
        for turn in range(12):
            whom = (
                ("test-node", "other") if turn % 2 else ("other", "test-node")
            )  # each itself, each the other
            drain = [
                partial(at.call, "node_drain", {"name": name}) for at, name in zip(both, whom, strict=True)
            ]
            said = at_once(*drain)
            assert len([word for word in said if not word]) == 1, said
            refused = drain[next(number for number, word in enumerate(said) if word)]
            # one whose lease is over for a moment is refused too, but for that: asked again it is the last
            last = "last that takes anything new with an agent of the role worker"
            until(lambda: last in at_once(refused)[0], 45, "the reason")  # noqa: B023
            # what one told while it drained a turn ago may be the last that is known of it for a moment
            until(lambda: len(draining(first)) == 1, 10, "that one takes what is new")
            drained = draining(first)
            first.call("node_resume", {"name": drained[0]})
            for at in both:
                state_is(at, drained[0], "ready")


def test_a_deadline_ends_what_is_not_done_and_its_senders_are_told(tmp_path: Path) -> None:
    with node(env={"NOVA_NODE_MAX_AGENTS": "2"}) as running:
        raw(running, tmp_path, "mine")
        spawn(running, "w1", tmp_path)
        full = running.novactl("spawn", "worker", "--driver", "line", "--", "sleep", "9")
        assert (full.returncode, "2 at most (node.max_agents)" in full.stderr) == (1, True), full.stderr
        running.call("pause", {"agent_id": "w1"})
        sent = str(running.send("w1", "never typed")["id"])
        running.wait_state(sent, "held")
        assert running.novactl("node", "drain", "--deadline", "1s", "--force").returncode == 0
        running.wait_state(sent, "failed")
        until(
            lambda: [a["agent_id"] for a in running.call("agents")] == ["mine"], 20, "only what is a person's"
        )
        typed = str(running.send("mine", "still typed")["id"])
        running.wait_state(typed, "submitted")
        assert "The node drains" in running.novactl("status").stdout


def test_a_node_that_is_killed_is_disconnected_and_its_agents_are_lost(tmp_path: Path) -> None:
    with node(env=SHORT) as first, neighbour(first, **SHORT) as second:
        raw(second, tmp_path, "far")
        until(lambda: nodes(first).get("other", {}).get("agents") == 1, what="the other node")
        second.kill()
        state_is(first, "other", "disconnected")
        (far,) = first.call("agents", {"node": "other"})
        assert (far["state"], far["detail"]) == ("lost", "node other is not heard of")
        refused = first.novactl("node", "drain", "other")
        assert "hears no order to drain" in refused.stderr
        assert "novactl node remove other" in refused.stderr
        waits = str(first.send("far", "when you are back")["id"])
        first.wait_state(waits, "queued")
        second.start()
        first.wait_state(waits, "submitted")
        state_is(first, "other", "ready")


def test_after_a_pause_of_the_broker_nobody_is_declared_dead_before_he_could_beat(tmp_path: Path) -> None:
    with node(env=SHORT) as first, neighbour(first, **SHORT) as second:
        raw(second, tmp_path, "far")
        until(lambda: nodes(first).get("other", {}).get("agents") == 1, what="the other node")
        broker = int((first.state / "broker" / "broker.pid").read_text())
        assert second.process is not None
        os.kill(second.process.pid, signal.SIGSTOP)
        os.kill(broker, signal.SIGSTOP)
        time.sleep(3.0)  # longer than the lease, shorter than the limit of a command
        os.kill(broker, signal.SIGCONT)
        try:
            end = time.monotonic() + 1.5  # the other could not beat for a lease yet: it is given that time
            while time.monotonic() < end:
                state = nodes(first).get("other", {}).get("state")
                assert state in ("ready", None) or time.monotonic() > end
                time.sleep(0.05)
            state_is(first, "other", "disconnected")  # now it had the time, and did not
        finally:
            os.kill(second.process.pid, signal.SIGCONT)
        state_is(first, "other", "degraded")  # its own event loop stood still, and it says so


def test_what_the_registry_lost_or_has_wrong_of_a_node_is_said_again() -> None:
    with node(env={"NOVA_NODE_LABELS": "gpu", **SHORT}) as running:
        blob = "nova:{reg}:n:test-node"

        async def told(broker: Broker, *words: str | bytes) -> Any:
            return await broker._link.command(*words)

        def labels() -> list[str]:
            raw_blob = on_broker(running, lambda broker: told(broker, "GET", blob))
            view = read_blob("test-node", raw_blob or b"", alive=True)
            return list(view.card.labels) if view is not None else []

        until(lambda: labels() == ["gpu"], what="the label")
        on_broker(running, lambda broker: told(broker, "DEL", blob))
        until(lambda: labels() == ["gpu"], 45, "the label again")
        stale = write_blob("test-node", [], now_ms=1, card=NodeCard(labels=("old",)))
        on_broker(running, lambda broker: told(broker, "SET", blob, stale))
        until(lambda: labels() == ["gpu"], 45, "the label again")


def test_an_order_that_is_not_the_fleets_is_not_obeyed(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"k1 {'ab' * 32}\n")
    keys.chmod(0o600)
    signing = {"NOVA_SIGNING_MODE": "require", "NOVA_SIGNING_KEY_FILE": str(keys)}
    with node(env={**SHORT, **signing}) as first, neighbour(first, **SHORT, **signing) as second:
        forged = write_order("drain", {"since_ms": 1, "deadline_ms": None, "by": "nobody"})
        on_broker(first, lambda broker: broker.order("other", forged))
        until(
            lambda: second.call("status")["health"] and "signature_rejected" in str(second.call("status")),
            what="it",
        )
        assert second.call("status")["draining"] is None
        assert first.novactl("node", "drain", "other").returncode == 0
        until(lambda: second.call("status")["draining"] is not None, what="the real one")


def test_a_drain_that_is_overtaken_by_another_order_is_not_said_to_be_carried_out(tmp_path: Path) -> None:
    with node() as first, neighbour(first) as second, ThreadPoolExecutor(1) as pool:
        state_is(first, "other", "ready")
        assert second.process is not None
        os.kill(second.process.pid, signal.SIGSTOP)
        try:
            drained = pool.submit(first.call, "node_drain", {"name": "other", "force": True})
            until(lambda: nodes(first)["other"]["order"] == "drain", what="the order")
            first.call("node_resume", {"name": "other"})
            with pytest.raises(Conflict, match="has not carried it out"):
                drained.result(20)
        finally:
            os.kill(second.process.pid, signal.SIGCONT)
