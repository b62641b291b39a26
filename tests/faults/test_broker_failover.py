"""A replicated broker whose master dies under traffic: the nodes follow, each message arrives once."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from nova_torch.broker import Broker
from nova_torch.errors import BrokerUnavailable
from nova_torch.login import Login
from nova_torch.protocol.client import Client
from tests.support.agents import raw
from tests.support.aio import run
from tests.support.node import TestNode, until
from tests.support.pair import BACK_S, Pair, pair
from tests.support.servers import PASSWORD, OwnServer, free_port, own_server, running_sentinel

RATE = 200  # messages a second that are offered; a busy machine takes fewer
SECONDS = 3
AGENTS = 8
LOGIN = Login(password=PASSWORD)


def follow(replica: OwnServer, master: OwnServer) -> None:
    replica.ask("REPLICAOF", "127.0.0.1", master.port)
    until(lambda: replica.told("replication", "master_link_status") == "up", 45, "the replica")


def sentinel(master: OwnServer, folder: Path) -> contextlib.AbstractContextManager[int]:
    """Run one Sentinel over a master; gives its port."""
    return running_sentinel(
        folder,
        f"sentinel monitor nova 127.0.0.1 {master.port} 1\nsentinel auth-pass nova {PASSWORD}\n"
        "sentinel down-after-milliseconds nova 1000\nsentinel failover-timeout nova 4000\n",
    )


@dataclass(slots=True)
class Site:
    both: Pair
    replica: OwnServer
    how: str

    def fail_over(self) -> float:
        """Kill the master; the replica becomes it, by the test's hand or by the Sentinel's.

        Returns how long it took until both nodes were connected to it, in seconds.
        """
        began = time.monotonic()
        self.both.server.kill()
        if self.how == "list":
            self.replica.ask("REPLICAOF", "NO", "ONE")
        until(lambda: all(self.follows(one) for one in (self.both.near, self.both.far)), 45, "the way")
        return time.monotonic() - began

    def follows(self, one: TestNode) -> bool:
        broker = one.call("status")["broker"]
        return bool(broker["state"] == "up" and broker["url"].endswith(f":{self.replica.port}"))


@contextlib.contextmanager
def replicated(how: str, folder: Path) -> Iterator[Site]:
    with contextlib.ExitStack() as stack:
        replica = stack.enter_context(own_server())

        def prepare(master: OwnServer) -> str:
            follow(replica, master)
            if how == "list":
                return f"redis://127.0.0.1:{master.port},127.0.0.1:{replica.port}"
            port = stack.enter_context(sentinel(master, folder))
            until(lambda: knows(port), 45, "the Sentinel's knowledge of the replica")
            return f"redis+sentinel://127.0.0.1:{port}/nova"

        def knows(port: int) -> bool:
            told = OwnServer(folder, port, password="").ask("SENTINEL", "REPLICAS", "nova")
            return any(str(replica.port).encode() in row for row in told)

        with pair(prepare=prepare) as both:
            yield Site(both, replica, how)


def offer(both: Pair, agent: str, bodies: list[str]) -> list[str]:
    """Send to one agent its part of the rate, from first to last; return the ids."""
    ids = []
    began = time.monotonic()
    with Client.connect(both.near.socket, 30.0) as client:
        for number, body in enumerate(bodies):
            time.sleep(max(began + number * AGENTS / RATE - time.monotonic(), 0.0))
            ids.append(str(client.call("send", {"target": agent, "body": body})["id"]))
    return ids


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("how", ["list", "sentinel"])
def test_a_failover_under_traffic_loses_and_repeats_nothing(tmp_path: Path, how: str) -> None:
    with replicated(how, tmp_path) as site:
        both = site.both
        agents = [raw(both.far, tmp_path, f"far-{number}") for number in range(AGENTS)]
        until(lambda: len(both.near.call("agents")) == AGENTS + 2, 45, "the agents in the registry")
        sent = {agent.name: [f"message {n}" for n in range(RATE * SECONDS // AGENTS)] for agent in agents}
        with ThreadPoolExecutor(AGENTS + 1) as hands:
            began = time.monotonic()
            sending = [hands.submit(offer, both, name, bodies) for name, bodies in sent.items()]
            time.sleep(SECONDS / 3)
            back = hands.submit(site.fail_over)
            ids = [message for each in sending for message in each.result(120)]
            rate = len(ids) / (time.monotonic() - began)
            print(f"{how}: {rate:.0f} messages a second, both nodes back after {back.result(30):.1f} s")
        assert back.result() < BACK_S
        until(lambda: both.near.call("status")["outbox"] == 0, 120, "an empty outbox")
        assert Counter(both.near.receipt(message)["state"] for message in ids) == {"submitted": len(ids)}
        for agent in agents:
            assert agent.bytes() == "".join(f"{body}\r" for body in sent[agent.name]).encode()
        if how == "list":  # it comes back as a master of its own: who is connected stays where he is
            both.server.start()
            both.send("there")
            both.all_once()
            follow(both.server, site.replica)
        both.alive()


def test_between_two_masters_nobody_chooses_and_a_replica_alone_is_not_used() -> None:
    async def told(url: str) -> str:
        with pytest.raises(BrokerUnavailable) as caught:
            await Broker.connect(url, login=LOGIN)
        return str(caught.value)

    async def leads_to(url: str) -> str:
        async with await Broker.connect(url, login=LOGIN) as broker:
            return broker.url_shown

    with own_server() as one, own_server() as two:
        url = f"redis://127.0.0.1:{one.port},127.0.0.1:{two.port}"
        said = run(told(url))
        assert "2 of the brokers are masters" in said
        assert "REPLICAOF" in said
        follow(one, two)
        assert run(leads_to(url)).endswith(f":{two.port}")
        with one.stopped():  # a server that hangs costs a moment and not the connection
            assert run(leads_to(url)).endswith(f":{two.port}")
        two.kill()
        said = run(told(url))
        assert "none of the brokers says that it is the master" in said
        assert f":{one.port}: replica" in said
        assert "nothing listens there" in said
        assert "If the master is lost, promote a replica: REPLICAOF NO ONE." in said


def test_of_brokers_that_tell_nothing_none_is_to_be_promoted_and_what_each_needs_is_said() -> None:
    async def told(url: str, password: str) -> str:
        with pytest.raises(BrokerUnavailable) as caught:
            await Broker.connect(url, login=Login(password=password))
        return str(caught.value)

    with own_server() as master, own_server() as replica:
        follow(replica, master)
        url = f"redis://127.0.0.1:{master.port},127.0.0.1:{replica.port}"
        said = run(told(url, "another"))
        assert said.count("refused the password") == 2
        assert said.count("Correct broker.password_file") == 1
        assert "REPLICAOF" not in said  # a second master would be made
        master.kill()
        replica.kill()
        said = run(told(url, PASSWORD))
        assert said.count("nothing listens there") == 2
        assert "Is it running?" in said
        assert "REPLICAOF" not in said


def test_a_sentinel_that_does_not_know_the_service_or_is_not_there_is_named(tmp_path: Path) -> None:
    with own_server() as master, sentinel(master, tmp_path) as port:
        gone = free_port()

        async def told(service: str) -> str:
            with pytest.raises(BrokerUnavailable) as caught:
                await Broker.connect(
                    f"redis+sentinel://127.0.0.1:{gone},127.0.0.1:{port}/{service}", login=LOGIN
                )
            return str(caught.value)

        said = run(told("other"))
        assert "no Sentinel says where other is" in said
        assert f":{port} knows no other" in said
        assert f"127.0.0.1:{gone}" in said
        assert PASSWORD not in said

        async def leads_to() -> str:
            url = f"redis+sentinel://127.0.0.1:{gone},127.0.0.1:{port}/nova"
            async with await Broker.connect(url, login=LOGIN) as broker:
                return broker.url_shown

        assert run(leads_to()) == f"redis://127.0.0.1:{master.port}"


def test_a_sentinel_that_goes_on_with_what_it_knew_is_passed_over(tmp_path: Path) -> None:
    with own_server() as old, own_server() as master, contextlib.ExitStack() as stack:
        stale = stack.enter_context(sentinel(old, tmp_path))
        knowing = stack.enter_context(sentinel(master, tmp_path))

        async def leads_to(*ports: int) -> str:
            url = f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in ports)}/nova"
            async with await Broker.connect(url, login=LOGIN) as broker:
                return broker.url_shown

        async def told(port: int) -> str:
            with pytest.raises(BrokerUnavailable) as caught:
                await Broker.connect(f"redis+sentinel://127.0.0.1:{port}/nova", login=LOGIN)
            return str(caught.value)

        follow(old, master)  # what the first one calls the master is a replica
        assert run(leads_to(stale, knowing)).endswith(f":{master.port}")
        assert f"names redis://127.0.0.1:{old.port}: replica" in run(told(stale))
        old.kill()
        assert run(leads_to(stale, knowing)).endswith(f":{master.port}")
        assert f"cannot reach the broker at redis://127.0.0.1:{old.port}: nothing listens" in run(told(stale))


def test_a_server_in_a_sentinels_place_a_locked_sentinel_and_a_sentinel_in_a_servers_place_are_named(
    tmp_path: Path,
) -> None:
    async def told(url: str) -> str:
        with pytest.raises(BrokerUnavailable) as caught:
            await Broker.connect(url, login=LOGIN)
        return str(caught.value)

    async def info_of(url: str) -> str:
        async with await Broker.connect(url) as broker:
            return (await broker.info()).unusable

    with own_server("--requirepass", "") as server:
        said = run(told(f"redis+sentinel://127.0.0.1:{server.port}/nova"))
        assert f"redis://127.0.0.1:{server.port} is no Sentinel" in said
        assert "Correct broker.url" in said
        with sentinel(server, tmp_path) as port:
            assert "a Sentinel and no broker" in run(info_of(f"redis://127.0.0.1:{port}"))
            OwnServer(tmp_path, port, password="").ask("ACL", "SETUSER", "default", "resetpass", ">locked")
            said = run(told(f"redis+sentinel://127.0.0.1:{port}/nova"))
            assert f":{port} wants a password" in said
            assert "Sentinels are asked without one" in said
