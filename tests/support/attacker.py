"""Somebody who may write to a node's broker, and has no key of the fleet."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from nova_torch.broker import Broker, Enqueue, Lane
from nova_torch.broker.schedules import Kept
from nova_torch.codec import decode_hop, encode_message
from nova_torch.keys import Keys
from nova_torch.signing import Key, Keyring
from nova_torch.ulid import new_ulid
from nova_torch.values import Hop, Message, MessageId
from tests.support.aio import run
from tests.support.node import TestNode, until

FLEET = Keyring((Key("k1", b"\xab" * 32),))
WRONG = Keyring((Key("k1", b"\xcd" * 32),))
OTHER = Keyring((Key("k9", b"\xab" * 32),))
KEY_LINE = "k1 " + "ab" * 32 + "\n"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Attacker:
    """Writes into the broker of `node`."""

    def __init__(self, node: TestNode) -> None:
        self.node = node

    def _on_broker(self, work: Any) -> Any:
        async def connected() -> Any:
            async with await Broker.connect(f"unix://{self.node.state}/broker/broker.sock") as broker:
                return await work(broker)

        return run(connected())

    def message(self, agent: str, body: str, **more: Any) -> Message:
        headers = {"origin": "far", "agent": agent, "form": "auto", **more.pop("headers", {})}
        made = Message(
            id=MessageId(new_ulid()),
            sender="user:boss",
            target=agent,
            body=body,
            created_ms=now_ms(),
            headers=headers,
        )
        return replace(made, **more)

    def put(self, agent: str, message: Message, signature: str = "") -> Message:
        """Put a message into a mailbox as a node would, whatever lies there already."""
        self.put_raw(agent, message.id, encode_message(message, signature))
        return message

    def put_raw(self, agent: str, message_id: str, payload: bytes) -> None:
        item = Enqueue(agent=agent, message_id=message_id, lane=Lane.MBX, payload=payload, limit=99)
        self._on_broker(lambda broker: broker.enqueue([item]))

    def waiting(self, agent: str) -> list[bytes]:
        """Read what lies in a mailbox, as everybody can who may read the broker."""
        key = Keys("nova").mailbox(agent).mbx
        found = self._on_broker(lambda broker: broker._link.command("XRANGE", key, "-", "+"))
        return [fields[3] for _, fields in found]

    def dead(self, agent: str, message_id: str) -> str:
        """Wait until a message is a dead letter of the broker; return its reason."""
        return str(
            until(
                lambda: next(
                    (
                        letter.reason
                        for letter in self._on_broker(lambda broker: broker.dead(agent, 100))
                        if letter.message_id == message_id
                    ),
                    "",
                ),
                what=f"the dead letter of {message_id} ({self.node.log()[-2000:]})",
            )
        )

    def post(self, node: str, payload: bytes) -> None:
        self._on_broker(lambda broker: broker.post(node, [payload]))

    def read_mail(self, node: str) -> int:
        return len(self._on_broker(lambda broker: broker.mail(node, block_s=0.01)))

    def last_mail(self, node: str) -> Hop:
        """Return the receipt that came last into the mail of a node that nobody reads."""
        return decode_hop(self._on_broker(lambda broker: broker.mail(node, block_s=0.01))[-1].payload)

    def schedule(self, agent: str, kept: Kept) -> None:
        self._on_broker(lambda broker: broker.put_schedules(agent, [kept], ring=True))

    def schedules(self, agent: str) -> list[Kept]:
        return list(self._on_broker(lambda broker: broker.schedules([agent])))

    def order(self, node: str, order: bytes) -> None:
        self._on_broker(lambda broker: broker.order(node, order))

    def ordered(self, node: str) -> bytes:
        leases = self._on_broker(lambda broker: broker.nodes())
        return b"".join(lease.order for lease in leases if lease.node == node)
