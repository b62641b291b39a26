"""A broker in cluster mode: one shard with all slots is a broker like any other, and so are several shards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from nova_torch import NovaOrchestrator
from nova_torch.broker import Broker
from nova_torch.broker.connection import Link
from nova_torch.broker.embedded import EmbeddedBroker
from nova_torch.errors import BrokerUnavailable
from nova_torch.login import Login
from tests.support.agents import Raw
from tests.support.aio import run
from tests.support.cluster import Cluster, is_whole, join, one_shard, servers
from tests.support.node import node, until
from tests.support.pair import Pair, pair
from tests.support.servers import OwnServer


@contextlib.contextmanager
def cluster_of(shards: int, env: dict[str, str] | None = None) -> Iterator[tuple[Pair, Cluster]]:
    """Two nodes on a cluster; of three shards the registry and each of the two agents has its own."""
    made: list[Cluster] = []

    def prepare(first: OwnServer) -> str:
        made.append(join(first, others))
        return made[0].url

    with servers(shards - 1) as others, pair(env, prepare=prepare) as both:
        assert len({made[0].of(tag).port for tag in ("reg", "a:here", "a:there")}) == shards
        yield both, made[0]


def test_nodes_work_on_a_cluster_of_one_shard() -> None:
    with pair(prepare=one_shard) as both:
        both.send("here", 3)
        both.send("there", 3)
        both.all_once()
        assert {row["state"] for row in both.near.call("node_list")} == {"ready"}
        moved = both.near.call("node_drain", {"name": "far", "force": True})
        assert moved["state"] == "draining"
        refused = both.server.told("errorstats", "errorstat_CROSSSLOT")
        assert not refused, "a script or command had keys of two hash tags"


def test_nodes_work_on_a_cluster_of_three_shards(tmp_path: Path) -> None:
    with cluster_of(3) as (both, cluster):
        both.send("here", 5)
        both.send("there", 20)
        both.send("there", 3, priority="urgent")
        for message, _ in both.sent["there"]:
            both.near.wait_state(message, "submitted")
        assert both.near.call("status")["broker"]["url"].endswith("(3 shards)")
        assert {row["state"] for row in both.near.call("node_list")} == {"ready"}
        asked = both.near.novactl("send", "all", "to everybody", "--wait=submitted", "--timeout", "30s")
        assert asked.returncode == 0, asked.stderr
        later = both.near.novactl("schedule", "add", "there", "in a second", "--in", "1s")
        assert later.returncode == 0, later.stderr
        until(lambda: b"in a second\r" in both.there.log.read_bytes(), 45, "the scheduled one")
        spawned = both.near.novactl(
            "spawn", "worker", "--id", "w1", "--node", "far", "--driver", "line", "--cwd", str(tmp_path),
            "--", "sh", "-c", f"exec cat >> {tmp_path}/w1.bytes",
        )  # fmt: skip
        assert spawned.returncode == 0, spawned.stderr
        until(lambda: len(both.near.call("agents")) == 3, 45, "the spawned one in the registry")
        task = both.near.novactl("task", "add", "mend it", "--role", "worker")
        assert task.returncode == 0, task.stderr
        name = task.stdout.split()[0]
        until(lambda: name.encode() in (tmp_path / "w1.bytes").read_bytes(), 45, "the task told of")
        told = both.near.call("task_show", {"id": name})
        assert told["state"] == "assigned", told["steps"]
        assert both.near.call("task_done", {"id": name, "result": "mended"})["state"] == "done"
        drained = both.near.call("node_drain", {"name": "far", "force": True})
        assert drained["state"] == "draining"
        until(lambda: not both.far.call("agents", {"role": "worker"}), 45, "the spawned one ended")
        both.alive()
        assert not any(cluster.told("errorstat_CROSSSLOT")), "a command had keys of two hash tags"
        assert not any(cluster.told("errorstat_MOVED")), "a command was sent to another shard than its own"


BRIDGES = """
[[bridges.stream]]
name = "ops"
key = "ops:agents:{agent}"
dialect = "torch"
replies = "ops:answers:{sender}"
receipts = "all"

[[bridges.channel]]
name = "say"
key = "ops:say:{agent}"
dialect = "torch"
"""


def has(agent: Raw, words: str) -> bool:
    return f"{words}\r".encode() in agent.bytes()


@pytest.mark.parametrize("shards", [1, 3])
def test_bridges_work_on_a_cluster(tmp_path: Path, shards: int) -> None:
    config = tmp_path / "config.toml"
    config.write_text(BRIDGES)
    with cluster_of(shards, {"NOVA_TORCH_CONFIG": str(config)}) as (both, cluster):
        for agent, log in (("here", both.here), ("there", both.there)):
            stream, words = f"ops:agents:{agent}", f"streamed to {agent}"
            cluster.at(stream).ask("XADD", stream, "*", "sender", "planner", "payload", words)
            until(partial(has, log, words), 20, stream)
        answers = "ops:answers:planner"
        until(lambda: cluster.at(answers).ask("XLEN", answers) >= 2, 45, "the receipts")
        for server in cluster.shards:  # whichever server another program is connected to
            words = f"said at {server.port}"
            server.ask("PUBLISH", "ops:say:there", words)
            until(partial(has, both.there, words), 20, words)
        both.alive()


def test_a_program_without_a_daemon_sends_through_three_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cluster_of(3) as (both, cluster):

        async def generations() -> set[str]:
            login = Login(password=cluster.shards[0].password)
            async with await Broker.connect(cluster.url, login=login) as broker:
                return {await broker.generation() for _ in range(3)}

        (generation,) = run(generations())
        assert len(set(generation.split(":"))) == 7, "a replid and a word of each shard, and the registry's"
        monkeypatch.setenv("NOVA_SOCKET", str(tmp_path / "nobody.sock"))
        monkeypatch.setenv("NOVA_BROKER_URL", cluster.url)
        monkeypatch.setenv("NOVA_BROKER_PASSWORD_FILE", str(both.password_file))
        nova = NovaOrchestrator()
        for agent in ("here", "there"):
            assert nova.send_message(agent, "from nowhere", wait="submitted", timeout_s=30).delivered
        assert {record.agent_id for record in nova.agents()} == {"here", "there"}


def test_a_user_who_may_not_ask_for_the_shards_is_told_so() -> None:
    with servers(2) as (one, other):
        cluster = join(one, [other])
        for server in cluster.servers:
            server.ask(
                "ACL", "SETUSER", "small", "reset", "on", f">{one.password}", "~*", "&*", "+@all", "-cluster"
            )
        password = one.folder / "password"
        password.touch(0o600)
        password.write_text(one.password)
        without = other if cluster.of("reg") is one else one
        env = {
            "NOVA_BROKER_URL": f"redis://small@127.0.0.1:{without.port}",
            "NOVA_BROKER_PASSWORD_FILE": str(password),
        }
        with node(start=False, env=env) as lone:
            lone.start()

            def told() -> str:
                return str([check for check in lone.call("status")["health"] if "broker" in check["code"]])

            until(lambda: "is a node of a cluster" in told(), 45, "the finding")
            assert "+cluster|slots +asking" in told()
            for server in cluster.servers:
                server.ask("ACL", "SETUSER", "small", "+cluster|slots", "+asking")
            until(lambda: lone.call("status")["broker"]["state"] == "up", 45, "the broker")


def test_a_cluster_that_is_not_whole_is_said_to_lack_slots() -> None:
    with servers(2) as (one, other):
        cluster = join(one, [other])
        other.kill()
        until(lambda: not is_whole(one), 45, "the cluster to notice")
        login = Login(password=one.password)

        async def refused(url: str) -> str:
            with pytest.raises(BrokerUnavailable) as caught:
                await Broker.connect(url, login=login)
            return caught.value.message

        assert f"127.0.0.1:{other.port}" in run(refused(cluster.url)), "the shard is named"
        one.ask("CLUSTER", "DELSLOTSRANGE", 0, 99)
        assert "100 of 16384 slots are nobody's" in run(refused(f"redis://127.0.0.1:{one.port}"))


def test_a_server_in_cluster_mode_that_has_no_channels_is_said_to_have_none(
    uncaptured_server: EmbeddedBroker,
) -> None:
    async def refused() -> str:
        link = await Link.open(uncaptured_server.url)
        try:  # DragonflyDB's words; no other server says them
            with pytest.raises(BrokerUnavailable) as caught:
                await link.command(
                    "EVAL",
                    "return redis.error_reply('ERR SUBSCRIBE is not supported in cluster mode yet')",
                    0,
                )
        finally:
            await link.close()
        return f"{caught.value.message} {caught.value.hint}"

    said = run(refused())
    assert "has no channels, since it is in cluster mode" in said
    assert "--cluster_mode=emulated" in said
