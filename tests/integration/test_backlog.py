"""More messages for one agent than its worker takes at once: the rest follows without a pause."""

from __future__ import annotations

import time
from pathlib import Path

from nova_torch.broker import Broker, Enqueue, Lane
from nova_torch.codec import encode_message
from nova_torch.ulid import new_ulid
from nova_torch.values import Message, MessageId
from noval_d.delivery.worker import CAPACITY
from noval_d.mailroom.inbox import SWEEP_S
from tests.support.agents import raw
from tests.support.aio import run
from tests.support.node import TestNode, node, until

WAITING = 4 * CAPACITY


def test_a_backlog_of_another_node_is_typed_without_waiting_for_the_sweep(tmp_path: Path) -> None:
    with node() as running:
        agent = raw(running, tmp_path)
        began = time.monotonic()
        run(_enqueue(running, agent.name))
        wanted = b"".join(b"message %d\r" % n for n in range(WAITING))
        until(lambda: len(agent.bytes()) >= len(wanted), 4 * SWEEP_S, "the last message")
        assert agent.bytes() == wanted
        assert time.monotonic() - began < SWEEP_S * 0.7


async def _enqueue(running: TestNode, agent: str) -> None:
    broker = await Broker.connect(f"unix://{running.state / 'broker' / 'broker.sock'}")
    try:
        await broker.enqueue([_remote(agent, f"message {n}") for n in range(WAITING)])
    finally:
        await broker.close()


def _remote(agent: str, body: str) -> Enqueue:
    message = Message(
        id=MessageId(new_ulid()),
        sender="user:far",
        target=agent,
        body=body,
        created_ms=time.time_ns() // 1_000_000,
        headers={"origin": "elsewhere", "agent": agent},
    )
    return Enqueue(
        agent=agent, message_id=message.id, lane=Lane.MBX, payload=encode_message(message), limit=WAITING
    )
