"""Send to a group: one receipt each, a quorum, one of them, those who are away."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nova_torch.errors import InvalidRequest
from nova_torch.ulid import new_ulid
from tests.support.agents import raw
from tests.support.node import TestNode, node, until


def with_role(of: TestNode, folder: Path, name: str, role: str) -> Path:
    agent = raw(of, folder, name)
    of.call("register", {"agent_id": name, "pane": agent.pane, "driver": "line", "role": role})
    return agent.log


def test_a_group_gets_a_message_each_and_says_how_many(tmp_path: Path) -> None:
    with node() as running:
        logs = {name: with_role(running, tmp_path, name, "dev") for name in ("d1", "d2", "d3")}
        with_role(running, tmp_path, "other", "ops")

        plan = running.novactl("send", "role:dev", "hello", "--dry-run")
        assert (plan.returncode, plan.stdout.split()) == (0, ["d1", "d2", "d3"])
        assert "3 agents would get it" in plan.stderr

        group = new_ulid()
        for _ in range(2):  # sent again with its id, nobody gets it twice
            done = running.novactl("send", "role:dev", "hello", "--wait", "--id", group, "--json")
            assert done.returncode == 0, done
            receipts = [json.loads(line) for line in done.stdout.splitlines()]
            assert [(r["agent"], r["state"]) for r in receipts] == [
                (name, "submitted") for name in ("d1", "d2", "d3")
            ]
            assert "3 submitted" in done.stderr
        assert {name: log.read_bytes() for name, log in logs.items()} == dict.fromkeys(logs, b"hello\r")

        # one is paused: a quorum of two is there, all three are not within the time
        running.call("pause", {"agent_id": "d2"})
        two = running.novactl("send", "role:dev", "two of us", "--wait", "--min", "2")
        assert two.returncode == 0, two
        late = running.novactl(
            "send", "role:dev", "all of us", "--wait", "--timeout", "1s", "--id", new_ulid()
        )
        assert (late.returncode, "2 of 3 are submitted after 1.0s" in late.stderr) == (6, True), late.stderr
        short = running.novactl("send", "role:dev", "x", "--wait", "--ttl", "1s", "--min", "3")
        assert (short.returncode, "1 will not get it" in short.stderr) == (7, True), short.stderr
        many = running.novactl("send", "role:dev", "x", "--wait", "--min", "4")
        assert (many.returncode, "4 are to get it, and role:dev has 3" in many.stderr) == (2, True), (
            many.stderr
        )
        nobody = running.novactl("send", "role:dev", "x", "--wait", "--min", "0")
        assert (nobody.returncode, "min is 0" in nobody.stderr) == (2, True), nobody.stderr

        # one of them: the idle one with nothing waiting, and the same one when it is asked again
        chosen = new_ulid()
        for _ in range(2):
            one = running.novactl(
                "send", "role:dev", "one of us", "--any", "--wait", "--id", chosen, "--json"
            )
            assert (one.returncode, json.loads(one.stdout)["agent"]) == (0, "d1"), one
            running.call("pause", {"agent_id": "d1"})  # it would be another one now
        told = running.novactl("send", "role:dev", "one of us", "--any", "--id", chosen)
        assert (told.returncode, told.stderr) == (0, "to d1\n")
        assert sum(log.read_bytes().count(b"one of us") for log in logs.values()) == 1

        with pytest.raises(InvalidRequest, match="means every agent"):
            running.register("all", "%0")
        wrong = running.novactl("send", "role:devv", "x")
        assert (wrong.returncode, "Did you mean dev?" in wrong.stderr) == (5, True), wrong.stderr
        nobody = running.novactl("send", "d1", "x", "--any")
        assert (nobody.returncode, "d1 is one agent" in nobody.stderr) == (2, True), nobody.stderr
        both = running.novactl("send", "role:dev", "x", "--any", "--dry-run")
        assert (both.returncode, "exclude each other" in both.stderr) == (2, True), both.stderr


def test_who_is_away_is_left_out_or_waited_for(tmp_path: Path) -> None:
    with node() as running:
        here = with_role(running, tmp_path, "here", "dev")
        with_role(running, tmp_path, "away", "dev")
        pane = next(a["pane"] for a in running.call("agents") if a["agent_id"] == "away")
        running.tmux.tmux("kill-pane", "-t", pane)
        until(
            lambda: [a["agent_id"] for a in running.call("agents", {"state": "lost"})] == ["away"],
            what="lost",
        )
        done = running.novactl("send", "role:dev", "who is here", "--wait")
        assert done.returncode == 0, done
        assert "1 submitted, 1 away and left out (--queue-offline): away" in done.stderr
        done = running.novactl("send", "role:dev", "both", "--queue-offline", "--json")
        assert done.returncode == 0, done
        waiting = {r["agent"]: r["id"] for r in map(json.loads, done.stdout.splitlines())}
        assert sorted(waiting) == ["away", "here"]
        (tmp_path / "again").mkdir()
        back = raw(running, tmp_path / "again", "away")
        running.wait_state(waiting["away"], "submitted")
        running.wait_state(waiting["here"], "submitted")
        assert back.bytes() == b"both\r"
        assert here.read_bytes() == b"who is here\rboth\r"
        for words in (
            ("send", "role:dev", "later", "--any", "--in", "1h"),
            ("schedule", "add", "all", "x", "--in", "1h"),
        ):
            done = running.novactl(*words)
            assert (done.returncode, "a schedule is for one. Name it." in done.stderr) == (2, True), done


def test_without_the_broker_it_is_said_that_the_other_nodes_are_not_seen(tmp_path: Path) -> None:
    unseen = "the broker is down: only this node is seen."
    with node(start=False, env={"NOVA_BROKER_URL": "redis://127.0.0.1:1"}) as running:
        running.start()
        until(lambda: running.call("status")["tmux"][0]["state"] == "up", 45, "tmux")
        log = with_role(running, tmp_path, "d1", "dev")
        listed = running.novactl("agents", "--json")
        assert ([row["agent_id"] for row in json.loads(listed.stdout)], listed.stderr) == (
            ["d1"],
            f"{unseen}\n",
        )
        assert running.novactl("agents", "-q").stderr == ""
        assert unseen.rstrip(".") in running.novactl("node", "list").stdout
        sent = running.novactl("send", "role:dev", "hello", "--wait")
        assert (sent.returncode, unseen in sent.stderr, log.read_bytes()) == (0, True, b"hello\r")
        for words in (
            ("send", "role:ops", "x"), ("send", "role:ops", "x", "--any"), ("node", "drain", "far"),
            ("spawn", "sh", "--node", "far", "--driver", "line"),
        ):  # fmt: skip
            refused = running.novactl(*words)
            assert (refused.returncode, f", and {unseen}" in refused.stderr) == (5, True), refused.stderr
