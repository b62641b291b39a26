"""Scaling on real nodes: tasks pile up, agents come, go idle and leave; leaders change; a broker forgets."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults.test_review_node import on_broker
from tests.faults.test_two_nodes import neighbour
from tests.lab.tmux import PROGRAMS
from tests.support.broker import ask
from tests.support.doers import doer
from tests.support.node import ROOT, TestNode, node, until

SHORT = {"NOVA_BROKER_LEASE_S": "1", "NOVA_BROKER_BEAT_S": "0.3", "NOVA_LIFE_TERMINATE_S": "1"}


def configuration(folder: Path, name: str = "config", **more: str) -> str:
    """Write a configuration that scales the role `worker`; return its path."""
    keys = {
        "min": "0", "max": "2", "budget_per_day": "6", "up_cooldown_s": "0.5", "down_cooldown_s": "0.5",
        "idle_s": "1.5",
    }  # fmt: skip
    command = [sys.executable, str(PROGRAMS / "doer.py"), str(folder / "doers.log"), "--work", "0.7"]
    written = (
        f'[agents.worker]\ndriver = "line"\ncwd = "{folder}"\ncommand = {json.dumps(command)}\n'
        f'env = {{ PYTHONPATH = "{ROOT}" }}\n'
    )
    scaled = "".join(f"{key} = {value}\n" for key, value in (keys | more).items() if key != "dry_run")
    dry = f"dry_run = {more.get('dry_run', 'false')}\n"
    scaled = f"[scaling]\nhard_cap = 3\nlook_s = 0.2\n{dry}[scaling.worker]\n{scaled}"
    file = folder / f"{name}.toml"
    file.write_text(written + scaled)
    return str(file)


def status(of: TestNode) -> dict[str, Any]:
    return dict(of.call("scale_status"))


def role(of: TestNode) -> dict[str, Any]:
    (row,) = status(of)["roles"]
    return dict(row)


def workers(of: TestNode) -> list[dict[str, Any]]:
    return [agent for agent in of.call("agents") if agent["role"] == "worker"]


def add(of: TestNode, count: int) -> list[str]:
    return [str(of.call("task_add", {"title": f"task {n}", "role": "worker"})["id"]) for n in range(count)]


def done(of: TestNode, tasks: list[str], timeout_s: float = 40.0) -> None:
    def left() -> list[str]:
        return [task for task in tasks if of.call("task_show", {"id": task})["state"] != "done"]

    until(lambda: not left(), timeout_s, f"all tasks done; left {left()}; {of.log()[-3000:]}")


@contextmanager
def scaled(folder: Path, **more: str) -> Iterator[TestNode]:
    with node(env={**SHORT, "NOVA_TORCH_CONFIG": configuration(folder, **more)}) as made:
        yield made


def test_tasks_pile_up_agents_come_within_the_limits_and_leave_archived_when_they_are_idle(
    tmp_path: Path,
) -> None:
    with scaled(tmp_path) as one:
        until(lambda: status(one)["leader"] == "test-node", 45, "a leader")
        assert role(one)["why"] == "nothing waits; 0 agents of it, and min is 0"
        tasks = add(one, 6)
        until(lambda: len(workers(one)) == 2, 45, f"two agents; {status(one)} {one.log()[-3000:]}")
        until(lambda: "but max is 2" in role(one)["why"], 45, f"the limit, named: {role(one)}")
        told = one.novactl("scale", "explain", "worker")
        assert (told.returncode, told.stdout.startswith("worker: hold: ")) == (0, True), told
        done(one, tasks)
        until(lambda: (tmp_path / "doers.log").read_text().count("done ") == 6, 45, "their own words")
        until(lambda: not workers(one), 45, f"idle agents stopped; {status(one)}")
        until(lambda: status(one)["actions"][-1]["stand"] == "done", 45, "the end of the last stop")
        acts = status(one)["actions"]
        assert [(act["way"], act["stand"]) for act in acts] == [("up", "done")] * 2 + [("down", "done")] * 2
        assert {entry.name.rpartition("-")[0] for entry in (one.state / "archive").iterdir()} == {
            act["agent"] for act in acts
        }
        assert "test-node leads, 0 agents in the fleet, 3 at most" in one.novactl("scale", "status").stdout
        unknown = one.novactl("scale", "explain", "workr")
        assert (unknown.returncode, "Did you mean worker?" in unknown.stderr) == (5, True), unknown


def test_the_next_leader_goes_on_with_what_the_last_one_decided_and_a_wiped_broker_takes_nothing_back(
    tmp_path: Path,
) -> None:
    """The leader is killed right after it has written a start down; the node that it chose starts it once."""
    labels = '["work"]'
    leader = configuration(tmp_path, "leader", labels=labels)
    follower = configuration(tmp_path, "follower", labels=labels, budget_per_day="7", idle_s="60")
    second_env = {"NOVA_TORCH_CONFIG": leader, "NOVA_FAILPOINTS": "scale.decided=kill"}
    third_env = {"NOVA_TORCH_CONFIG": follower, "NOVA_NODE": "third", "NOVA_NODE_LABELS": "work"}
    with (
        node(env=SHORT) as base,  # it has the broker, and takes no part
        neighbour(base, **SHORT, **second_env) as second,
        neighbour(base, **SHORT, **third_env) as third,
    ):
        assert base.call("scale_status")["enabled"] is False
        until(lambda: status(third)["leader"] == "other", 45, "the first leader")
        assert status(third)["differs"]
        assert "its [scaling] differs from that of this node" in third.novactl("scale", "status").stdout
        tasks = add(third, 1)
        until(lambda: second.process is not None and second.process.poll() is not None, 45, "killed")
        (decided,) = status(third)["actions"]
        assert (decided["stand"], decided["node"]) == ("pending", "third")
        until(lambda: status(third)["leader"] == "third", 45, "the next leader")
        done(third, tasks)
        until(lambda: status(third)["actions"][-1]["stand"] == "done", 45, "its end")
        assert [act["id"] for act in status(third)["actions"]] == [decided["id"]]
        assert [agent["agent_id"] for agent in workers(third)] == [decided["agent"]]
        epoch = status(third)["epoch"]
        on_broker(base, lambda broker: broker._link.command("FLUSHALL"))
        until(
            lambda: status(third)["leader"] == "third" and status(third)["epoch"] > epoch,
            20,
            "it leads again",
        )
        until(lambda: on_broker(base, lambda broker: broker.scale_actions()), 45, "what the broker lost")
        assert [(act["id"], act["stand"]) for act in status(third)["actions"]] == [(decided["id"], "done")]
        assert role(third)["starts"] == 1


def test_a_dry_run_starts_nobody_and_a_template_that_is_not_there_is_said(tmp_path: Path) -> None:
    with (
        scaled(tmp_path, labels='["gpu"]', dry_run="true") as one,
        neighbour(one, **SHORT, NOVA_NODE_LABELS="gpu") as other,
    ):
        until(lambda: status(one)["leader"] == "test-node", 45, "a leader")
        until(lambda: len(one.call("node_list")) == 2, 45, "both nodes")
        add(one, 1)
        until(lambda: "scale.would" in one.log(), 45, "its word")
        assert (role(one)["decision"], status(one)["actions"]) == ("up", [])
        assert "dry run: nothing is done" in one.novactl("scale", "status").stdout

        configuration(tmp_path, labels='["gpu"]')
        assert "scaling" in one.call("reload")["changed"]
        until(lambda: "scale.blocked" in one.log(), 45, f"its word; {status(one)} {one.log()[-3000:]}")
        (failed,) = status(one)["actions"]
        assert (failed["stand"], failed["node"]) == ("failed", "other")
        assert "there is no template 'worker' in the configuration of node other" in failed["note"]
        assert workers(other) == []


def test_who_leads_and_has_not_noticed_yet_that_the_broker_was_wiped_starts_nobody(tmp_path: Path) -> None:
    """It saw its own agents only, and started others above `max`."""
    slow = {"NOVA_BROKER_LEASE_S": "3", "NOVA_BROKER_BEAT_S": "1.5"}
    config = configuration(tmp_path, min="1", max="1")
    with node(env=slow | {"NOVA_TORCH_CONFIG": config}) as first, neighbour(first, **SHORT) as second:
        doer(second, tmp_path, "theirs")
        until(lambda: role(first)["counted"] == 1, 45, "its sight of the agent")
        until(lambda: status(first)["leader"] == "test-node", 45, "its lead")
        time.sleep(4)  # a lease, after which it decides
        for turn in range(3):
            ask(f"{first.state}/broker/broker.sock", "FLUSHALL")
            reconnected = partial(lambda n: first.log().count("broker.up") >= 2 + n, turn)
            until(reconnected, 45, "the reconnection")
            assert status(first)["actions"] == []
            time.sleep(4)
        until(lambda: role(first)["counted"] == 1, 45, "its sight of the agent")
        assert status(first)["actions"] == []
