"""Older and newer versions side by side: state files, the daemon and novactl, messages, records of the registry."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from nova_torch.blobs import write_blob
from nova_torch.broker import Enqueue, Lane
from nova_torch.broker.facade import Broker
from nova_torch.codec import encode_message
from nova_torch.errors import StateNewer
from nova_torch.ulid import new_ulid
from nova_torch.values import AgentRecord, Message
from tests.faults.test_review_node import foreign, on_broker
from tests.support.agents import raw
from tests.support.node import ROOT, TestNode, node, until

STATES = sorted((ROOT / "tests" / "support" / "states").glob("*.sql"))
"""State files of earlier versions, as their daemons left them when they were killed with messages held."""


@pytest.fixture
def running() -> Iterator[TestNode]:
    with node() as made:
        yield made


@pytest.mark.parametrize("recorded", STATES, ids=lambda path: path.stem)
def test_the_state_of_an_earlier_version_is_gone_on_with(tmp_path: Path, recorded: Path) -> None:
    with node(start=False) as running:
        with sqlite3.connect(running.state / "state.db") as old:
            old.executescript(recorded.read_text())
            old.execute("PRAGMA user_version = 1")
            (done,) = old.execute("SELECT id FROM outbox WHERE final = 1").fetchone()
            waiting = [row[0] for row in old.execute("SELECT id FROM outbox WHERE final = 0 ORDER BY seq")]
        old.close()
        assert len(waiting) == 2
        running.start()
        running.wait_up()
        assert [(a["agent_id"], a["driver"]) for a in running.call("agents")] == [("raw", "line")]
        assert running.call("status")["paused"] == ["raw"]
        agent = raw(running, tmp_path)
        running.call("resume", {"agent_id": "raw"})
        for message in waiting:
            assert running.wait_state(message, "submitted")["final"]
        assert running.receipt(done)["state"] == "submitted"
        assert running.send_wait("raw", "new")["state"] == "submitted"
        running.kill()
        running.start()
        running.wait_up()
        assert running.send_wait("raw", "newer")["state"] == "submitted"
        assert agent.bytes() == b"held when it was stopped\rbehind it\rnew\rnewer\r"


def test_the_state_of_a_newer_version_is_refused_for_good_and_left_alone() -> None:
    """systemd does not try again: see RestartPreventExitStatus in the units."""
    with node(start=False) as running:
        file = running.state / "state.db"
        with sqlite3.connect(file) as newer:
            newer.execute("CREATE TABLE outbox (everything BLOB)")
            newer.execute("PRAGMA user_version = 2")
        newer.close()
        before = file.read_bytes()
        done = subprocess.run(
            [sys.executable, "-m", "noval_d"],
            cwd=ROOT,
            env=running.environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == StateNewer.exit_code == 2
        said = done.stderr.splitlines()[-1]
        assert said.startswith(f"nova-torchd: {file} was written by a newer version of Nova-Torch (schema 2;")
        assert "Start that version again" in said
        assert file.read_bytes() == before
        assert not Path(running.socket).exists()


def put(running: TestNode, envelope: bytes, message_id: str) -> None:
    item = Enqueue(agent="raw", message_id=message_id, lane=Lane.MBX, payload=envelope, limit=99)

    async def work(broker: Broker) -> None:
        (answer,) = await broker.enqueue([item])
        assert not answer.error, answer

    on_broker(running, work)


def newer(message: Message) -> bytes:
    """The message as a node of the next version might write it."""
    return bytes(msgpack.packb(msgpack.unpackb(encode_message(message)) | {"schema": 2, "colour": "blue"}))


def test_a_message_of_a_newer_version_waits_in_the_mailbox_for_the_upgrade(
    running: TestNode, tmp_path: Path
) -> None:
    agent = raw(running, tmp_path)
    message = foreign(new_ulid(), "raw", "from the future")
    put(running, newer(message), message.id)
    assert running.send_wait("raw", "of today")["state"] == "submitted"
    put(running, newer(message), message.id)  # its sender asks again for news
    (finding,) = until(lambda: running.call("status")["health"], what="the finding")
    assert finding["code"] == "message_newer"
    assert "1 messages for raw are of a newer version" in finding["message"]
    assert running.stop() == 0
    running.module = "tests.support.next_version"
    running.start()
    running.wait_up()
    until(lambda: b"from the future" in agent.bytes(), what="the message")
    until(lambda: running.call("status")["health"] == [], what="the end of the finding")
    assert running.send_wait("raw", "the last")["state"] == "submitted"
    running.kill()
    running.start()
    running.wait_up()
    time.sleep(0.5)
    assert agent.bytes() == b"of today\rfrom the future\rthe last\r"


def test_what_a_newer_node_tells_of_its_agents_is_passed_on(running: TestNode, tmp_path: Path) -> None:
    raw(running, tmp_path)
    (own,) = running.call("agents")
    told = own | {"agent_id": "far-1", "node": "far", "state": "dreaming", "mood": {"today": "good"}}

    async def appear(broker: Broker) -> None:
        epoch = await broker.claim_epoch("far")
        blob = write_blob("far", [AgentRecord.from_json(told)], now_ms=time.time_ns() // 1_000_000)
        await broker.beat("far", epoch, blob, ttl_s=60)

    on_broker(running, appear)

    def listed() -> dict[str, Any]:
        return {record["agent_id"]: record for record in running.call("agents")}

    until(lambda: set(listed()) == {"raw", "far-1"}, what="the next look into the registry")
    records = listed()
    assert (records["far-1"]["state"], records["far-1"]["mood"]) == ("dreaming", {"today": "good"})
    shown = running.novactl("agents")
    assert shown.returncode == 0, shown.stderr
    assert "far-1" in shown.stdout
