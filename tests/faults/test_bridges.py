"""A bridge whose daemon dies, and two nodes with the same bridge: once in the pane, once told back."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from pathlib import Path

from tests.faults.test_fencing import moved, sees_it_elsewhere
from tests.faults.test_two_nodes import neighbour
from tests.support.agents import Raw, raw
from tests.support.foreign import Cli, bridging, cli_of
from tests.support.node import TestNode, until
from tests.support.talkers import talker

TORCH = '[bridges]\ndialects = ["torch"]\nreceipts = "all"\n[delivery]\npair_rate_per_minute = 0\n'
KILLS = 8
EACH = 12
DIRECT = "nova.torch.agents.direct.raw"
TASKS, EVENTS = "nova:task:boomerang:tasks", "nova:task:boomerang:events"


def lines(log: bytes) -> Counter[bytes]:
    return Counter(log.split(b"\r")[:-1])


def joined(made: TestNode, stream: str = DIRECT) -> None:
    until(lambda: cli_of(made)("EXISTS", stream) == 1, 45, f"the group of {stream}")


def test_a_daemon_killed_between_reading_and_acknowledging_types_each_entry_once(tmp_path: Path) -> None:
    rng = random.Random(7)
    with bridging(TORCH) as made:
        agent, cli = raw(made, tmp_path), cli_of(made)
        joined(made)
        sent: list[bytes] = []
        for turn in range(KILLS):
            for n in range(EACH):
                sent.append(b"%d/%d" % (turn, n))
                cli.add(DIRECT, sender="x", id=sent[-1], payload=sent[-1])
            time.sleep(rng.uniform(0.0, 0.25))
            made.kill()
            made.start()
        made.wait_up()
        until(lambda: len(lines(agent.bytes())) >= len(sent), 60, f"all of {len(sent)} entries")
        answers = "nova.torch.agents.direct.x"

        def told() -> list[str]:
            return [entry["nova_event"] for entry in cli.entries(answers)]

        until(lambda: sum(event.endswith(".submitted") for event in told()) >= len(sent), 60, "the receipts")
        made.send_wait("raw", "the end")
        assert lines(agent.bytes()) == Counter([*sent, b"the end"])
        assert [event for event, times in Counter(told()).items() if times > 1] == []
        pending = cli("XPENDING", DIRECT, "nova-bridge")
        assert pending[0] == 0


def test_two_nodes_with_the_same_bridges_deliver_once(tmp_path: Path) -> None:
    with (
        bridging(TORCH) as first,
        neighbour(first, NOVA_TORCH_CONFIG=first.env["NOVA_TORCH_CONFIG"]) as second,
    ):
        mine, cli = raw(first, tmp_path), cli_of(first)
        other = raw(second, tmp_path, "far")
        joined(first)
        joined(first, "nova.torch.agents.direct.far")
        until(lambda: cli("PUBSUB", "NUMPAT") >= 2, what="both listening")
        for one in (first, second):
            until(lambda one=one: len(one.call("agents")) == 2, what="both agents")  # type: ignore[misc]
        time.sleep(6)  # each knows of the other's bridges by a beat
        for n in range(10):
            cli.add(DIRECT, payload=f"stream {n}")
            cli.add("nova.torch.agents.direct.far", payload=f"stream {n}")
            cli("PUBLISH", DIRECT, f"channel {n}")
            cli("PUBLISH", "nova.torch.agents.direct.far", f"channel {n}")
        cli.add("nova.torch.orchestrator", payload="all in a stream")
        cli("PUBLISH", "nova.torch.orchestrator", "all on a channel")
        wanted = Counter(f"{via} {n}".encode() for via in ("stream", "channel") for n in range(10))
        wanted += Counter([b"all in a stream", b"all on a channel"])
        for agent in (mine, other):
            until(lambda agent=agent: len(lines(agent.bytes())) >= 22, 45, f"all of it, {agent.bytes()!r}")  # type: ignore[misc]
        first.send_wait("far", "the end")
        second.send_wait("raw", "the end")
        assert lines(mine.bytes()) == wanted + Counter([b"the end"])
        assert lines(other.bytes()) == wanted + Counter([b"the end"])


def test_a_task_goes_its_whole_road_over_restarts(tmp_path: Path) -> None:
    with bridging('[bridges]\ndialects = ["boomerang"]\n') as made:
        worker, cli = talker(made, tmp_path, "worker"), cli_of(made)
        joined(made, TASKS)
        made.kill()
        cli.add(TASKS, operation="create_task", title="while you were out", task_id="T7", assignee="worker")
        made.start()
        made.wait_up()
        worker.wait_prompts(1)
        (update,) = cli.wait_entries(TASKS, 1, operation="update_task")
        assert (update["task_id"], update["status"]) == ("T7", "in_progress")
        question = json.loads(cli.wait_entries(EVENTS, 1, type="task_updated")[0]["details"])["message_id"]
        made.call("reply", {"question": question, "body": "it is done", "sender": "worker"})
        made.kill()
        made.start()
        made.wait_up()
        (done,) = cli.wait_entries(TASKS, 1, operation="complete_task")
        assert (done["task_id"], done["result"]) == ("T7", "it is done")
        made.kill()
        made.start()
        made.wait_up()
        cli.wait_entries(EVENTS, 1, type="task_completed")
        time.sleep(1.5)
        assert Counter(e.get("operation") for e in cli.entries(TASKS)) == Counter(
            {"create_task": 1, "update_task": 1, "complete_task": 1}
        )
        assert Counter(e["type"] for e in cli.entries(EVENTS)) == Counter(
            {"task_updated": 1, "task_completed": 1}
        )
        assert len(worker.prompts()) == 1


def test_a_task_that_moves_over_restarts_moves_once(tmp_path: Path) -> None:
    with bridging('[bridges]\ndialects = ["boomerang"]\n') as made:
        old, new, cli = raw(made, tmp_path, "old"), raw(made, tmp_path, "new"), cli_of(made)
        joined(made, TASKS)
        cli.add(TASKS, operation="create_task", title="carry it", task_id="T", assignee="old")
        cli.wait_entries(TASKS, 1, operation="update_task", _source="old")
        made.kill()
        move = cli.add(TASKS, operation="update_task", task_id="T", assignee="new")
        made.start()
        made.wait_up()
        cli.wait_entries(TASKS, 1, operation="update_task", _source="new")
        until(lambda: b"was given to new" in old.bytes(), what="the notice")
        made.kill()
        cli("XGROUP", "SETID", TASKS, "nova-bridge", "0")  # as if nothing of it had been acknowledged
        asked = cli.add(TASKS, operation="get_task", task_id="T")
        made.start()
        made.wait_up()
        (answer,) = cli.wait_entries(EVENTS, 1, in_reply_to=asked)
        assert json.loads(answer["details"])["task"]["assignee"] == "new"
        until(lambda: cli("XPENDING", TASKS, "nova-bridge")[0] == 0, what="every entry acknowledged")
        made.send_wait("old", "the end")
        made.send_wait("new", "the end")
        assert old.bytes().count(b"carry it") == 2  # the task, and its name in the notice
        assert old.bytes().count(b"was given to new") == new.bytes().count(b"carry it") == 1
        updates = [
            e["_source"] for e in cli.entries(TASKS) if e["entry"] != move and e["operation"] == "update_task"
        ]
        assert updates == ["old", "new"]


def test_what_was_told_and_not_noted_before_a_crash_is_not_told_again(tmp_path: Path) -> None:
    """The state file as it is when the daemon dies right behind the write into the stream."""
    with bridging('[bridges]\ndialects = ["torch", "boomerang"]\n') as made:
        raw(made, tmp_path)
        cli = cli_of(made)
        joined(made)
        cli.add(DIRECT, sender="x", payload="told")
        (receipt,) = cli.wait_entries("nova.torch.agents.direct.x", 1)
        cli.add(TASKS, operation="create_task", title="a task", task_id="T", assignee="raw")
        (update,) = cli.wait_entries(TASKS, 1, operation="update_task")
        cli.wait_entries(EVENTS, 1)
        until(lambda: noted(made) == {("submitted", ""), ("in_progress", "")}, what="the notes")
        made.kill()
        with sqlite3.connect(made.state / "state.db") as state:
            state.execute("UPDATE bridged SET trying = told, told = '', state = ''")
        cli("XDEL", EVENTS, cli.entries(EVENTS)[0]["entry"])  # it died between the two streams of a task
        made.start()
        made.wait_up()
        until(lambda: noted(made) == {("submitted", ""), ("in_progress", "")}, what="the notes again")
        assert cli.entries("nova.torch.agents.direct.x") == [receipt]
        assert [e["entry"] for e in cli.entries(TASKS) if e["operation"] == "update_task"] == [
            update["entry"]
        ]
        assert len(cli.entries(EVENTS)) == 1


def noted(made: TestNode) -> set[tuple[str, str]]:
    with sqlite3.connect(f"file:{made.state / 'state.db'}?mode=ro", uri=True) as state:
        return set(state.execute("SELECT told, trying FROM bridged").fetchall())


def test_a_killed_broker_and_a_lost_subscription_are_come_back_from(tmp_path: Path) -> None:
    with bridging(TORCH) as made:
        agent, cli = raw(made, tmp_path), cli_of(made)
        joined(made)
        until(lambda: cli("PUBSUB", "NUMPAT") >= 2, what="the channels")
        cli("CLIENT", "KILL", "TYPE", "pubsub")
        until(lambda: published(cli, agent, b"heard again"), what="what was published")
        pid = int((made.state / "broker" / "broker.pid").read_text())
        os.kill(pid, signal.SIGKILL)
        until(lambda: alive(cli), 45, "the broker again")
        cli.add(DIRECT, payload="in the new broker")
        until(lambda: published(cli, agent, b"on its channel"), 45, "what was published in the new broker")
        until(lambda: b"in the new broker\r" in agent.bytes(), 45, "what was added")
        made.send_wait("raw", "the end")
        typed = lines(agent.bytes())
        assert typed.keys() == {b"heard again", b"in the new broker", b"on its channel", b"the end"}
        assert typed[b"in the new broker"] == typed[b"the end"] == 1


def published(cli: Cli, agent: Raw, body: bytes) -> bool:
    """Publish, and return whether it was typed within a second: what is published while nobody listens is lost."""
    cli("PUBLISH", DIRECT, body)
    with contextlib.suppress(AssertionError):
        return bool(until(lambda: body + b"\r" in agent.bytes(), 1))
    return False


def alive(cli: Cli) -> bool:
    with contextlib.suppress(OSError, AssertionError):
        return bool(cli("PING") == b"PONG")
    return False


def test_the_agents_of_a_killed_node_leave_the_set_of_the_active(tmp_path: Path) -> None:
    quick = {"NOVA_BROKER_LEASE_S": "3", "NOVA_BROKER_BEAT_S": "0.5"}
    config = "[bridges.registry]\nbeat_s = 1\n"
    with (
        bridging(config, env=quick) as first,
        neighbour(first, NOVA_TORCH_CONFIG=first.env["NOVA_TORCH_CONFIG"], **quick) as second,
    ):
        raw(first, tmp_path, "near")
        raw(second, tmp_path, "far")
        cli = cli_of(first)

        def active() -> set[str]:
            return {name for name in ("near", "far") if cli("SISMEMBER", "nova:registry:active", name)}

        until(lambda: active() == {"near", "far"}, what="both")
        second.kill()
        until(lambda: active() == {"near"}, 45, "the end of the other")
        assert 0 < cli("TTL", "nova:registry:far") <= 300  # its hash ends by itself
        second.start()
        second.wait_up()
        until(lambda: active() == {"near", "far"}, 45, "both again")


def test_an_agent_that_was_started_elsewhere_is_told_of_by_its_new_node_only(tmp_path: Path) -> None:
    quick = {"NOVA_BROKER_LEASE_S": "3", "NOVA_BROKER_BEAT_S": "0.5"}
    with (
        bridging("[bridges.registry]\nbeat_s = 1\n", env=quick) as first,
        neighbour(first, NOVA_TORCH_CONFIG=first.env["NOVA_TORCH_CONFIG"], **quick) as second,
    ):
        raw(second, tmp_path)
        cli = cli_of(first)
        entry = "nova:registry:raw"
        until(lambda: '"other"' in cli.hash(entry).get("metadata", ""), 45, "its first node")
        second.kill()
        moved(first, tmp_path / "second")
        second.start()
        until(lambda: sees_it_elsewhere(second), 45, "it fenced")
        until(lambda: '"test-node"' in cli.hash(entry)["metadata"], 45, "its node by now")
        assert second.stop() == 0
        assert cli.hash(entry)["status"] != "offline"
        assert '"test-node"' in cli.hash(entry)["metadata"]
        assert cli("SISMEMBER", "nova:registry:active", "raw") == 1


def test_an_orderly_stop_shows_the_agents_as_offline(tmp_path: Path) -> None:
    with (
        bridging('[bridges]\ndialects = ["registry"]\n') as first,
        neighbour(first, NOVA_TORCH_CONFIG=first.env["NOVA_TORCH_CONFIG"]) as second,
    ):
        raw(second, tmp_path, "far")
        cli = cli_of(first)
        until(lambda: cli("SISMEMBER", "nova:registry:active", "far") == 1, what="the agent")
        assert second.stop() == 0
        assert cli.hash("nova:registry:far")["status"] == "offline"
        assert cli("SISMEMBER", "nova:registry:active", "far") == 0
