"""Put together what a node remembers of messages: those it sent and those it received, each once."""

from __future__ import annotations

from nova_torch.history import MessageRecord
from nova_torch.values import AgentId
from noval_d.mailroom.ledger import Ledger
from noval_d.mailroom.outbox import Outbox

LOOKED_AT = 2000
"""Of each table the newest so many are looked through for a sender: a few milliseconds of the loop."""


def remembered(
    outbox: Outbox, ledger: Ledger, *, agent: str | None, sender: str | None, limit: int, private: bool
) -> list[MessageRecord]:
    """Return the last `limit` messages (for `agent`, from `sender`), oldest first; with `private` their bodies.

    Of a message that was sent and received here the sender's side is told: it has the last word.
    """
    depth = LOOKED_AT if sender is not None else limit
    received = ledger.last(depth) if agent is None else ledger.recent(AgentId(agent), depth)
    rows = {
        entry.message.id: MessageRecord.of(
            entry.message, agent=entry.agent, state=entry.state, reason=entry.reason, private=private
        )
        for entry in received
    }
    for out in outbox.recent(agent, depth):
        rows[out.message.id] = MessageRecord.of(
            out.message, agent=out.agent, state=out.state, reason=out.reason, private=private
        )
    wanted = (row for row in rows.values() if sender is None or row.sender == sender)
    return sorted(wanted, key=lambda row: row.id)[-limit:]
