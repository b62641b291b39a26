"""Nodes as the benchmark of a fleet runs them, on a real server: nothing but tmux is replaced."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import noval_d.node.node as parts
from benchmarks.fleet_load import Load, Recorder
from nova_torch.broker import Broker, Enqueue, Lane, mailbox
from nova_torch.broker.connection import Link
from nova_torch.codec import encode_message
from nova_torch.errors import BrokerUnavailable, KeyUnfit, NovaError
from nova_torch.keys import Keys
from nova_torch.ulid import new_ulid
from nova_torch.values import Message, MessageId
from tests.support.aio import run
from tests.support.broker import Site

NODES, AGENTS = 2, 40
AT_FIRST = 4 * (AGENTS + NODES)
"""Of each mailbox, those for people included, two streams are read: what is pending, then what is new."""


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[float]]:
    """Recorders take the workers' place in this process; gives when each message was recorded."""
    monkeypatch.setattr(parts, "Worker", Recorder)
    monkeypatch.setattr(Recorder, "times", {})
    return Recorder.times


@asynccontextmanager
async def fleet(site: Site) -> AsyncIterator[Load]:
    folder = tempfile.mkdtemp(prefix="nova-f-", dir="/tmp")
    load = Load(
        {
            "url": site.server.url, "folder": folder, "nodes": NODES, "agents": AGENTS, "seed": 1,
            "numbers": list(range(NODES)), "targets": list(range(NODES)),
        }
    )  # fmt: skip
    try:
        await load.start()
        yield load
        await load.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def reads(site: Site) -> int:
    """Return how often a mailbox was read on the server."""
    told = site.ask("INFO", "commandstats").decode()
    line = next((line for line in told.splitlines() if line.startswith("cmdstat_xreadgroup:")), "calls=0,")
    return int(line.partition("calls=")[2].partition(",")[0])


def unrung(agent: str) -> Enqueue:
    now_ms = time.time_ns() // 1_000_000
    message = Message(
        id=MessageId(new_ulid()), sender="user:test", target=agent, body="nobody rings", created_ms=now_ms,
        headers={"origin": "elsewhere", "agent": agent},
    )  # fmt: skip
    payload = encode_message(message)
    return Enqueue(agent=agent, message_id=message.id, lane=Lane.MBX, payload=payload, limit=9)


def test_every_message_of_a_simulated_fleet_is_recorded_once(
    own_site: Site, recorded: dict[str, list[float]]
) -> None:
    async def scenario() -> None:
        async with fleet(own_site) as load:
            await load.send(rate=200.0, seconds=0.5)
            assert await load.settled(timeout_s=20.0) == {"open": 0}
            assert set(recorded) == set(load.accepted)
            assert all(len(times) == 1 for times in recorded.values())

    run(scenario(), timeout_s=60)


def test_a_sweep_reads_only_mailboxes_that_hold_something(
    own_site: Site, recorded: dict[str, list[float]]
) -> None:
    async def scenario() -> None:
        async with fleet(own_site) as load, await Broker.connect(own_site.server.url) as broker:
            node = load.nodes[0]
            agent = next(iter(node.roster.agents))
            while reads(own_site) < AT_FIRST:  # noqa: ASYNC110 - what every node does as soon as it is connected
                await asyncio.sleep(0.01)
            before = reads(own_site)
            await node.inbox.sweep()
            await broker._put([item := unrung(agent)])  # as a sender that dies before it rings
            await node.inbox.sweep()
            while not recorded:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
            assert set(recorded) == {item.message_id}
            assert reads(own_site) - before < len(node.roster.agents) // 2

    run(scenario(), timeout_s=60)


def test_the_first_message_for_an_agent_elsewhere_rings_in_the_write_that_brings_it(
    own_site: Site, recorded: dict[str, list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    afterwards: list[tuple[Link, str]] = []

    async def ring(link: Link, _keys: Keys, rung: set[tuple[str, str, Lane]]) -> None:
        afterwards.extend(
            (link, name) for name, _agent, _lane in rung
        )  # and nothing rings: a sweep would find it

    async def scenario() -> None:
        async with fleet(own_site) as load:
            names = {
                node.broker.broker._link: node.name for node in load.nodes if node.broker.broker is not None
            }
            monkeypatch.setattr(mailbox, "ring", ring)
            await load.send(rate=100.0, seconds=0.5)
            assert await load.settled(timeout_s=20.0) == {"open": 0}
            assert set(recorded) == set(load.accepted)
            assert [(names[link], name) for link, name in afterwards if names[link] != name] == []

    run(scenario(), timeout_s=60)


@pytest.mark.parametrize("error", [BrokerUnavailable("gone"), KeyUnfit("a key of another type")])
def test_whose_a_mailbox_is_need_not_be_known_before(
    own_site: Site, recorded: dict[str, list[float]], monkeypatch: pytest.MonkeyPatch, error: NovaError
) -> None:
    async def refused(_self: Broker, _agent: str) -> None:
        raise error

    async def scenario() -> None:
        async with fleet(own_site) as load:
            monkeypatch.setattr(Broker, "owner_of", refused)
            await load.send(rate=100.0, seconds=0.5)
            assert await load.settled(timeout_s=20.0) == {"open": 0}
            assert set(recorded) == set(load.accepted)
            assert not any(node.dispatch._foreseen for node in load.nodes)

    run(scenario(), timeout_s=60)
