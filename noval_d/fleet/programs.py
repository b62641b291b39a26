"""Do what programs that have no daemon ask of this node through the broker: answer a message, tell the history."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nova_torch.errors import NotAllowed, ShuttingDown
from nova_torch.history import MessageRecord
from nova_torch.policy import Party, Request
from nova_torch.values import Priority
from noval_d.control.args import Args
from noval_d.mailroom.history import remembered

if TYPE_CHECKING:
    from noval_d.node.node import Node

BODIES_BYTES = 1 << 20
"""The bodies of one history that go through the broker; those of older messages are left out."""


async def reply_for(node: Node, _ask: str, details: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Take over the answer to a message that was received here; tell its receipt."""
    asked = Args(details)
    if node.stopping.is_set():
        raise ShuttingDown("the daemon is stopping and takes no new messages.", "Send it again in a moment.")
    sender, owner = asked.text("sender"), asked.text("owner")
    by = Party(name=owner, node=asked.text("from"))
    if node.guard.policy.about("speak") and owner != sender:
        ruling = node.guard.policy.decide(Request(action="speak", by=by, to=node.guard.party(sender)))
        if not ruling.allow:
            raise NotAllowed(
                f"{owner} of {by.node} may not speak as {sender} on {node.name}: {ruling.why}.",
                f"Ask whoever keeps the policy of node {node.name}.",
            )
    receipt = await node.orchestrator.reply(
        asked.text("question"),
        asked.payload("body"),
        message_id=asked.text("id"),
        sender=sender,
        priority=asked.optional_text("priority") or Priority.NORMAL,
    )
    yield receipt.to_json()


async def history_for(node: Node, _ask: str, details: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Tell the last messages that were sent from here or received here, the newest last."""
    asked = Args(details)
    rows = remembered(
        node.outbox,
        node.ledger,
        agent=asked.optional_text("agent"),
        sender=asked.optional_text("sender"),
        limit=asked.integer("limit", least=1, most=1000),
        private=True,
    )
    yield {"rows": [row.to_json() for row in within(rows, BODIES_BYTES)]}


def within(rows: list[MessageRecord], most_bytes: int) -> list[MessageRecord]:
    """Return the rows, of which the newest have their bodies as long as these fit."""
    kept: list[MessageRecord] = []
    left = most_bytes
    for row in reversed(rows):
        left -= len((row.body or "").encode())
        kept.append(row if left >= 0 else replace(row, body=None))
    return kept[::-1]
