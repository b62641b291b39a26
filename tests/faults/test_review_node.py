"""A hostile neighbour, a full disk, a vanished directory: the whole node goes on, and never lies."""

from __future__ import annotations

import functools
import hashlib
import os
import resource
import shutil
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from nova_torch.broker import Broker, Enqueue, Lane
from nova_torch.codec import encode_hop, encode_message
from nova_torch.ulid import new_ulid
from nova_torch.values import Hop, Message, MessageId, NodeId, State
from tests.support.agents import raw
from tests.support.aio import run
from tests.support.capture import ask
from tests.support.node import TestNode, node, until


@pytest.fixture
def running() -> Iterator[TestNode]:
    with node() as made:
        yield made


def alive(running: TestNode) -> None:
    assert running.process is not None
    assert running.process.poll() is None, running.log()[-3000:]


def on_broker(running: TestNode, work: Callable[[Broker], Coroutine[Any, Any, Any]]) -> Any:
    """Be a neighbour: do `work` on the node's broker."""

    async def connected() -> Any:
        async with await Broker.connect(f"unix://{running.state}/broker/broker.sock") as broker:
            return await work(broker)

    return run(connected())


def foreign(message_id: str, agent: str, body: str, **headers: str) -> Message:
    return Message(
        id=MessageId(message_id),
        sender="user:x",
        target=agent,
        body=body,
        created_ms=time.time_ns() // 1_000_000,
        headers={"origin": "far", "agent": agent, **headers},
    )


def enqueue(running: TestNode, agent: str, message: Message) -> None:
    item = Enqueue(
        agent=agent, message_id=message.id, lane=Lane.MBX, payload=encode_message(message), limit=99
    )

    async def put(broker: Broker) -> None:
        (answer,) = await broker.enqueue([item])
        assert not answer.error, answer

    on_broker(running, put)


def limit_files(running: TestNode, size: int) -> None:
    """Make the daemon's disk full: no file of it grows over `size` bytes."""
    assert running.process is not None
    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_after_a_wipe_of_the_broker_bells_are_heard_at_once(running: TestNode, tmp_path: Path) -> None:
    agent = raw(running, tmp_path)
    for turn in range(2):
        ask(str(running.state / "broker" / "broker.sock"), "FLUSHALL")
        reconnected = functools.partial(lambda n: running.log().count("broker.up") >= 2 + n, turn)
        until(reconnected, 45, "the reconnection")
        time.sleep(0.5)
        took_s = []
        for number in range(3):
            began = time.monotonic()
            sent = running.send("raw", f"after the wipe {turn} {number}")["id"]
            running.wait_state(sent, "submitted")
            took_s.append(time.monotonic() - began)
        assert min(took_s) < 3.0, "the sweep found them, not the bell"
    assert agent.bytes().count(b"after the wipe") == 6


def test_the_loss_of_the_message_directory_ends_nothing(running: TestNode, tmp_path: Path) -> None:
    agent = raw(running, tmp_path)
    mine = [p for p in Path("/dev/shm").glob(f"nova-torch-{os.getuid()}-*") if _of(p, running)]
    assert len(mine) == 1
    shutil.rmtree(mine[0])
    sent = running.send("raw", "typed all the same")["id"]
    running.wait_state(sent, "submitted")
    alive(running)
    assert agent.bytes() == b"typed all the same\r"


def _of(directory: Path, running: TestNode) -> bool:
    return directory.name.endswith(hashlib.sha256(os.fsencode(running.state.resolve())).hexdigest()[:12])


def test_a_message_of_an_unknown_form_is_refused_and_ends_nothing(running: TestNode, tmp_path: Path) -> None:
    agent = raw(running, tmp_path)
    enqueue(running, "raw", foreign(new_ulid(), "raw", "strange", form="weird"))
    running.wait_state(running.send("raw", "next")["id"], "submitted")
    alive(running)
    assert agent.bytes() == b"next\r"


def test_an_id_that_is_a_tmux_command_is_refused(running: TestNode, tmp_path: Path) -> None:
    agent = raw(running, tmp_path)
    mark = tmp_path / "ran"
    enqueue(running, "raw", foreign(f"x ; run-shell 'touch {mark}' ; display-message y", "raw", "strange"))
    running.wait_state(running.send("raw", "next")["id"], "submitted")
    assert not mark.exists()
    assert agent.bytes() == b"next\r"


def test_a_receipt_with_an_impossible_time_hangs_nothing(running: TestNode, tmp_path: Path) -> None:
    raw(running, tmp_path)
    hop = Hop(message=MessageId(new_ulid()), at_ms=2**63, node=NodeId("far"), state=State.QUEUED)

    async def post(broker: Broker) -> None:
        await broker.post("test-node", [encode_hop(hop)])

    on_broker(running, post)
    time.sleep(0.5)
    running.wait_state(running.send("raw", "next")["id"], "submitted", timeout_s=45)
    alive(running)


def test_a_full_disk_ends_nothing_and_what_was_typed_is_not_typed_again(
    running: TestNode, tmp_path: Path
) -> None:
    agent = raw(running, tmp_path, "raw", "--stall", "6")
    first = running.send("raw", "the first")["id"]
    until(lambda: running.receipt(first)["reason"] == "not_reading", 45, "the paste")
    limit_files(running, 1)
    until(lambda: b"the first\r" in agent.bytes(), 45, "the reading")
    until(
        lambda: any(c["code"] == "state_file_failing" for c in running.call("status")["health"]), 10, "health"
    )
    hop = Hop(message=MessageId(new_ulid()), at_ms=1, node=NodeId("far"), state=State.QUEUED)

    async def post(broker: Broker) -> None:
        await broker.post("test-node", [encode_hop(hop)])

    on_broker(running, post)
    time.sleep(2)
    alive(running)
    limit_files(running, resource.RLIM_INFINITY)
    second = running.send("raw", "the second")["id"]
    running.wait_state(second, "submitted")
    assert running.wait_state(first, "submitted", "unconfirmed", timeout_s=45)["final"]
    running.kill()
    running.start()
    running.wait_up()
    running.wait_state(running.send("raw", "the third")["id"], "submitted")
    assert agent.bytes() == b"the first\rthe second\rthe third\r"


def test_a_move_to_another_pane_claims_nothing_for_the_old_one(running: TestNode, tmp_path: Path) -> None:
    raw(running, tmp_path, "raw", "--stall", "20")
    sent = running.send("raw", "never read")["id"]
    until(lambda: running.receipt(sent)["reason"] == "not_reading", 45, "the paste")
    other = running.tmux.open_program("rawlog.py", [str(tmp_path / "other.bytes")])
    running.tmux.wait_for(other, "READY")
    running.register("raw", other)
    assert running.wait_state(sent, "submitted", "unconfirmed")["state"] == "unconfirmed"


def test_unregistering_fails_everything_that_was_not_typed(running: TestNode, tmp_path: Path) -> None:
    agent = raw(running, tmp_path)
    running.call("pause", {"agent_id": "raw"})
    sent = [running.send("raw", f"message {n}")["id"] for n in range(100)]
    until(lambda: running.receipt(sent[-1])["state"] == "queued", 45, "the last one queued")
    running.call("unregister", {"agent_id": "raw"})
    states = {running.receipt(message)["state"] for message in sent}
    assert states == {"failed"}
    assert running.call("status")["outbox"] == 0
    assert agent.bytes() == b""


def test_messages_that_no_node_takes_do_not_hold_up_the_others(running: TestNode, tmp_path: Path) -> None:
    raw(running, tmp_path)
    record = running.call("agents")[0] | {"agent_id": "ghost", "node": "far"}

    async def appear(broker: Broker) -> None:
        epoch = await broker.claim_epoch("far")
        blob = msgpack.packb({"node": "far", "agents": [record]})
        await broker.beat("far", epoch, bytes(blob), ttl_s=60)

    on_broker(running, appear)
    stuck = [running.send("ghost", f"lost {n}")["id"] for n in range(140)]
    running.wait_state(running.send("raw", "goes on")["id"], "submitted")
    assert running.receipt(stuck[0])["state"] == "accepted"
    assert running.receipt(stuck[0])["reason"] == "no_agent"
    assert any(c["code"] == "no_mailbox" for c in running.call("status")["health"])


def test_a_neighbour_whose_record_cannot_be_read_stops_no_sending(running: TestNode, tmp_path: Path) -> None:
    raw(running, tmp_path)

    async def appear(broker: Broker) -> None:
        epoch = await broker.claim_epoch("far")
        await broker.beat("far", epoch, b"\xc1garbage", ttl_s=60)

    on_broker(running, appear)
    assert [record["agent_id"] for record in running.call("agents")] == ["raw"]
