"""Agents that are started on another node: chosen, named, asked for twice, refused there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nova_torch.errors import Conflict, NotAllowed, NotFound
from nova_torch.protocol.client import Client
from nova_torch.ulid import new_ulid
from tests.faults.test_two_nodes import neighbour
from tests.support.node import TestNode, node, until

SHORT = {"NOVA_BROKER_LEASE_S": "2", "NOVA_BROKER_BEAT_S": "0.5"}


def spawn(of: TestNode, folder: Path, **more: object) -> list[dict[str, object]]:
    """Spawn a program that notes each of its starts; return the steps."""
    script = f"echo started >> {folder}/starts; exec cat"
    args = {"role": "worker", "driver": "line", "command": ["sh", "-c", script], "cwd": str(folder), **more}
    with Client.connect(of.socket, 10.0) as client:
        return [dict(step) for step in client.stream("spawn", args, 30.0)]


def starts(folder: Path) -> int:
    return (folder / "starts").read_text().count("started") if (folder / "starts").exists() else 0


def test_an_agent_is_started_on_the_node_that_fits_and_once_however_often_it_is_asked_for(
    tmp_path: Path,
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[[rule]]\ndeny = ["spawn"]\nto = ["role:secret"]\nreason = "not here"\n')
    policy.chmod(0o600)
    there = {"NOVA_NODE_LABELS": "gpu,zone=eu", "NOVA_NODE_MAX_AGENTS": "3", "NOVA_POLICY_FILE": str(policy)}
    with node(env=SHORT) as first, neighbour(first, **there, **SHORT) as second:
        until(lambda: len(first.call("node_list")) == 2, what="both nodes")
        dry = first.novactl("spawn", "worker", "--label", "gpu", "--dry-run", "--json")
        assert json.loads(dry.stdout)["node"] == "other", dry
        assert {one["node"]: one["fits"] for one in json.loads(dry.stdout)["candidates"]} == {
            "other": True,
            "test-node": False,
        }
        assert starts(tmp_path) == 0

        done = first.novactl(
            "spawn", "worker", "--id", "w1", "--driver", "line", "--cwd", str(tmp_path), "--label", "gpu",
            "--node", "auto", "--", "sh", "-c", f"echo started >> {tmp_path}/starts; exec cat",
        )  # fmt: skip
        assert done.returncode == 0, done
        assert "w1 goes to node other: 0 of the role there" in done.stderr
        assert done.stdout.startswith("spawned w1 (node other, pane %")
        assert [agent["agent_id"] for agent in second.call("agents", {"node": "other"})] == ["w1"]

        ask = new_ulid()
        steps = spawn(first, tmp_path, node="other", ask=ask)
        assert [step["step"] for step in steps] == ["placed", "started", "ready"]
        right_behind = first.call("agents", {"node": "other"})
        assert steps[-1]["agent_id"] in [agent["agent_id"] for agent in right_behind]
        again = spawn(first, tmp_path, node="other", ask=ask)  # as one whose answer was lost does
        assert [step["step"] for step in again] == ["placed", "started", "ready"]
        assert again[-1]["agent_id"] == steps[-1]["agent_id"]
        until(
            lambda: starts(tmp_path) == 2, what="both programs"
        )  # that of `line` is ready before its first word
        second.call("stop_agent", {"agent_id": steps[-1]["agent_id"]}, timeout_s=20)
        with pytest.raises(Conflict, match="was started for this and is no more"):
            spawn(first, tmp_path, node="other", ask=ask)
        assert starts(tmp_path) == 2

        with pytest.raises(NotAllowed, match=r"may not spawn s1 on other: rule 1.*not here"):
            spawn(first, tmp_path, node="other", role="secret", agent_id="s1")
        with pytest.raises(Conflict, match="there is an agent w1 already"):
            spawn(first, tmp_path, node="other", agent_id="w1")
        with pytest.raises(NotFound, match="no command 'nothing-of-the-kind'"):
            spawn(first, tmp_path, node="other", command=["nothing-of-the-kind"])
        unknown = first.novactl("spawn", "worker", "--node", "othr")
        assert (unknown.returncode, "Did you mean other?" in unknown.stderr) == (5, True), unknown
        assert starts(tmp_path) == 2


def test_a_start_that_its_node_died_in_is_gone_on_with_by_the_next_one(tmp_path: Path) -> None:
    with node(env=SHORT) as first, neighbour(first, **SHORT) as second:
        until(lambda: len(first.call("node_list")) == 2, what="both nodes")
        second.stop()
        until(lambda: first.call("node_show", {"name": "other"})["state"] == "down", what="other away")
        with pytest.raises(Conflict, match="other is down"):
            spawn(first, tmp_path, node="other")
        second.env["NOVA_FAILPOINTS"] = "spawn.after=kill"
        second.start()
        second.wait_up()
        until(lambda: first.call("node_show", {"name": "other"})["state"] == "ready", what="other")
        args = {
            "role": "worker", "driver": "line", "cwd": str(tmp_path), "node": "other",
            "command": ["sh", "-c", f"echo started >> {tmp_path}/starts; exec cat"],
        }  # fmt: skip
        with Client.connect(first.socket, 10.0) as client:
            steps = client.stream("spawn", args, 40.0)
            assert next(steps)["step"] == "placed"
            until(lambda: second.process is not None and second.process.poll() is not None, 45, "killed")
            del second.env["NOVA_FAILPOINTS"]
            second.start()
            assert [step["step"] for step in steps][-1] == "ready"
        until(lambda: starts(tmp_path) == 1, what="its program")
        assert len(second.call("agents", {"node": "other"})) == 1
