"""A cluster of several shards: one is killed and failed over, wiped, cut off, or gives a slot away."""

from __future__ import annotations

import time

import pytest

from nova_torch.broker.following import PAUSES_S
from tests.integration.test_broker_cluster import cluster_of
from tests.support.cluster import enlarge, replicate, servers
from tests.support.node import until
from tests.support.pair import BACK_S, Pair


@pytest.mark.parametrize("tag", ["a:there", "reg"])
def test_a_shard_that_is_killed_is_failed_over_and_nothing_is_lost_or_twice(tag: str) -> None:
    with servers(1) as (replica,), cluster_of(3) as (both, cluster):
        victim = cluster.of(tag)
        replicate(cluster, victim, replica)
        both.send("there", 5)
        both.send("here", 5)
        victim.kill()
        killed = time.monotonic()
        for _ in range(20):
            both.send("there", 5)
            both.send("here", 5)
        both.all_once(killed + BACK_S)  # BACK_S after it was killed, and its replica had to be chosen
        assert replica.told("replication", "role") == "master"
        print(f"{time.monotonic() - killed:.1f} s from the kill to the last message in its pane")


def test_a_shard_that_is_wiped_loses_nothing() -> None:
    with cluster_of(3) as (both, cluster):
        for tag in ("a:there", "reg", "n:near"):
            both.send("there", 10)
            both.send("here", 2)
            cluster.of(tag).ask("FLUSHALL")
            both.all_once()


def connected(both: Pair) -> int:
    """Return how often the two nodes have connected to the broker."""
    return sum(one.log().count("broker.up") for one in (both.near, both.far))


def test_slots_that_move_to_other_shards_are_followed_without_a_connection_lost() -> None:
    with cluster_of(3) as (both, cluster):
        both.send("there", 3)
        both.all_once()
        before = connected(both)
        for tag, to in (("a:there", "reg"), ("reg", "a:here"), ("n:far", "a:here"), ("n:near", "a:here")):
            if cluster.of(tag) is not cluster.of(to):
                cluster.move_slot(tag, cluster.of(to))
            both.send("there", 5)
            both.send("here", 5)
            both.all_once()
        assert {row["state"] for row in both.near.call("node_list")} == {"ready"}
        assert connected(both) == before == 2


@pytest.mark.parametrize("tag", ["a:there", "n:far", "reg"])
def test_what_is_sent_while_a_slot_is_on_its_way_arrives_once_and_in_order_and_no_connection_is_lost(
    tag: str,
) -> None:
    with cluster_of(3) as (both, cluster):
        both.send("there", 3)
        both.all_once()
        to = next(shard for shard in cluster.shards if shard is not cluster.of(tag))
        began = time.monotonic()
        with cluster.moving_slot(tag, to) as move:
            both.send("there", 5)
            while move(1):
                both.send("there", 2)
                both.send("here", 1)
            both.send("there", 5)  # it has nothing left, and its slot is still its own
        took_s = time.monotonic() - began
        both.send("there", 5)
        both.all_once()
        assert connected(both) == 2 or took_s > sum(PAUSES_S) / 2, "it was followed, if it was not too long"
        assert {row["state"] for row in both.near.call("node_list")} == {"ready"}


def test_a_shard_that_joins_and_takes_slots_is_found() -> None:
    with servers(1) as (new,), cluster_of(3) as (both, cluster):
        both.send("there", 3)
        both.all_once()
        enlarge(cluster, new)
        cluster.move_slot("a:there", new)
        both.send("there", 5)
        both.send("here", 5)
        both.all_once()
        until(lambda: "(4 shards)" in both.near.call("status")["broker"]["url"], 45, "the new shard")
        new.ask("FLUSHALL")  # and what it loses is missed
        both.send("there", 5)
        both.all_once()


def test_a_shard_without_a_replica_is_waited_for_and_named() -> None:
    with cluster_of(3) as (both, cluster):
        victim = cluster.of("a:there")
        victim.kill()
        until(lambda: f"127.0.0.1:{victim.port}" in str(both.finding()), 45, "the shard named")
        both.send("here", 3)  # its own agents need no broker
        both.send("there", 3)
        for message, _ in both.sent["here"]:
            both.near.wait_state(message, "submitted")
        began = time.monotonic()
        victim.start()
        cluster.wait_whole()
        both.all_once(began + BACK_S)


def test_a_shards_word_of_another_type_is_named_and_costs_nothing() -> None:
    with cluster_of(3) as (both, cluster):
        found = {key.decode(): shard for shard in cluster.shards for key in shard.ask("KEYS", "nova:*:gen")}
        key = next(key for key in found if "{reg}" not in key)
        found[key].ask("DEL", key)
        found[key].ask("RPUSH", key, "not yours")
        both.send("there", 2)
        both.send("here", 2)
        until(lambda: f"key {key} is no " in str(both.near.call("status")["health"]), 45, f"{key} named")
        for message, _ in both.sent["here"]:
            both.near.wait_state(message, "submitted")
        found[key].ask("DEL", key)
        both.all_once(time.monotonic() + BACK_S)
