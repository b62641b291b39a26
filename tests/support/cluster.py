"""A real cluster of a test's own: servers that share the slots, replicas, slots that move."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from nova_torch.broker.slots import SLOTS, slot_of
from tests.support.node import until
from tests.support.servers import OwnServer, free_port, own_server

NODE_TIMEOUT_MS = 1500
"""A master that is silent for longer is failed over."""


def in_cluster_mode(server: OwnServer) -> int:
    """Start the server anew as a node of a cluster that has no slots yet; return the port of its bus."""
    server.kill()
    bus = free_port()
    server.options = (
        "--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-node-timeout", str(NODE_TIMEOUT_MS),
    )  # fmt: skip
    server.start()
    return bus


def is_whole(server: OwnServer) -> bool:
    return server.told("cluster", "cluster_enabled") == "1" and b"cluster_state:ok" in server.ask(
        "CLUSTER", "INFO"
    )


def one_shard(server: OwnServer) -> None:
    in_cluster_mode(server)
    server.ask("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
    until(lambda: is_whole(server), 15, "the cluster")


@dataclass(slots=True)
class Cluster:
    """Servers of one cluster; the first ones are the shards, in the order of their slots."""

    shards: list[OwnServer]
    replicas: list[OwnServer] = field(default_factory=list)

    @property
    def servers(self) -> list[OwnServer]:
        return [*self.shards, *self.replicas]

    @property
    def url(self) -> str:
        return "redis://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    def of(self, tag: str) -> OwnServer:
        """Return the shard that had the keys with this hash tag from the beginning."""
        return self.at(f"{{{tag}}}")

    def at(self, key: str) -> OwnServer:
        """Return the shard that had a key from the beginning."""
        return self.shards[min(slot_of(key) // (SLOTS // len(self.shards)), len(self.shards) - 1)]

    def wait_whole(self) -> None:
        until(lambda: all(is_whole(server) for server in self.servers), 30, "the cluster")

    def told(self, name: str) -> list[str]:
        """Return one value of INFO errorstats of each server."""
        return [server.told("errorstats", name) for server in self.servers]

    def move_slot(self, tag: str, to: OwnServer) -> None:
        """Give the slot of a hash tag to another shard, with its keys, as redis-cli does."""
        with self.moving_slot(tag, to):
            pass

    @contextlib.contextmanager
    def moving_slot(self, tag: str, to: OwnServer) -> Iterator[Callable[[int], int]]:
        """Begin to give the slot of a hash tag to another shard, and end it; what is yielded moves so many keys.

        Meanwhile its own shard has what did not go yet, the other one what did, and neither what has keys at both.
        """
        slot, source = slot_of(f"{{{tag}}}"), self.of(tag)
        target_id, source_id = (server.ask("CLUSTER", "MYID").decode() for server in (to, source))
        to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)

        def move(count: int) -> int:
            keys = source.ask("CLUSTER", "GETKEYSINSLOT", slot, count)
            if keys:
                source.ask("MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "AUTH", to.password, "KEYS", *keys)
            return len(keys)

        yield move
        while move(100):
            pass
        for server in (to, source):
            server.ask("CLUSTER", "SETSLOT", slot, "NODE", target_id)


def join(first: OwnServer, others: list[OwnServer]) -> Cluster:
    """Make a cluster of running servers, each with its share of the slots."""
    servers = [first, *others]
    buses = [in_cluster_mode(server) for server in servers]
    step = SLOTS // len(servers)
    for n, server in enumerate(servers):
        server.ask(
            "CLUSTER", "ADDSLOTSRANGE", n * step, SLOTS - 1 if server is servers[-1] else (n + 1) * step - 1
        )
    for server, bus in list(zip(servers, buses, strict=True))[1:]:
        first.ask("CLUSTER", "MEET", "127.0.0.1", server.port, bus)
    made = Cluster(servers)
    made.wait_whole()
    return made


def enlarge(cluster: Cluster, server: OwnServer) -> None:
    """Let another server join that has no slots yet; return when all know it."""
    bus = in_cluster_mode(server)
    cluster.shards[0].ask("CLUSTER", "MEET", "127.0.0.1", server.port, bus)
    name = server.ask("CLUSTER", "MYID")
    until(lambda: all(name in one.ask("CLUSTER", "NODES") for one in cluster.servers), 15, "it known")
    until(lambda: is_whole(server), 15, "the cluster known to it")


def replicate(cluster: Cluster, master: OwnServer, replica: OwnServer) -> None:
    """Make another server the replica of a shard; return when it has the data."""
    bus = in_cluster_mode(replica)
    master.ask("CLUSTER", "MEET", "127.0.0.1", replica.port, bus)
    name = master.ask("CLUSTER", "MYID")
    until(lambda: name in replica.ask("CLUSTER", "NODES"), 15, "the master known")
    replica.ask("CLUSTER", "REPLICATE", name)
    until(lambda: replica.told("replication", "master_link_status") == "up", 30, "the replica")
    cluster.replicas.append(replica)
    cluster.wait_whole()


@contextlib.contextmanager
def servers(number: int) -> Iterator[list[OwnServer]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(own_server()) for _ in range(number)]
