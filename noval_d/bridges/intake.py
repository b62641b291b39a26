"""Take over what a foreign program wrote: into the outbox, or to the dead letters of the bridges."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgpack

from nova_torch.bridging import Rule
from nova_torch.communication.compose import compose
from nova_torch.errors import Conflict, InvalidRequest, NotAllowed
from nova_torch.values import AgentId, MessageId
from noval_d.bridges.address import replies_to, sender_of
from noval_d.bridges.draft import Draft, Origin
from noval_d.bridges.records import Bridged
from noval_d.bridges.tally import Tally
from noval_d.delivery.standing import BRIDGED_TASK, TAKES_BACK

if TYPE_CHECKING:
    from noval_d.node.node import Node

log = logging.getLogger("nova.bridges")

MOST_KEPT_BYTES = 1 << 20
"""Of something that was refused, so much is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """Something foreign: by which bridge and stream or channel it came, and under which id it lies there."""

    rule: Rule
    source: str
    entry: str
    pairs: Sequence[tuple[bytes, bytes]]
    again: bool = False
    """It was read before, here or elsewhere, and not acknowledged."""


class Intake:
    """The one way in of every bridge."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.tallies: dict[tuple[str, str], Tally] = {}

    def __repr__(self) -> str:
        return f"<Intake {len(self.tallies)} bridges>"

    def tally(self, rule: Rule) -> Tally:
        """Return what is counted of a bridge."""
        return self.tallies.setdefault(
            (rule.via, rule.key), Tally(name=rule.label, via=rule.via, key=rule.key)
        )

    def tally_of(self, origin: Origin) -> Tally:
        """Return what is counted of the bridge that brought a message, if that is configured no more a new one."""
        name = (origin.via, origin.bridge)
        return self.tallies.setdefault(name, Tally(name=origin.dialect, via=origin.via, key=origin.bridge))

    async def accept(self, arrival: Arrival, draft: Draft, agent: AgentId, message_id: MessageId) -> str:
        """Take a message for `agent` into the outbox; when this returns '', it is durable.

        The same id again changes nothing. Else returns why it can be no message. Raises StoreFailed.
        """
        node, rule, tally = self._node, arrival.rule, self.tally(arrival.rule)
        sender = sender_of(rule.label, draft.sender)
        if node.outbox.state_of(message_id) is not None:
            tally.known += 1
            return ""
        try:
            message = compose(
                agent,
                draft.body,
                now_ms=node.clock_ms(),
                message_id=message_id,
                sender=sender,
                priority=draft.priority,
                kind=draft.kind,
                # a foreign word is no conversation of ours, whatever it says
                correlation_id=f"{sender}:{draft.correlation}" if draft.correlation else "",
                answer="wanted" if draft.asks and rule.to != "all" else "",
                headers={
                    "origin": node.name,
                    "agent": agent,
                    "answers": node.talk.box,
                    "bridge": f"{rule.dialect} {arrival.source}",
                    **({BRIDGED_TASK: draft.task} if draft.task else {}),
                    **({TAKES_BACK: draft.takes_back} if draft.takes_back else {}),
                },
                max_bytes=node.config.delivery.max_body_bytes,
            )
        except InvalidRequest as error:
            return error.message
        origin = Origin(
            dialect=rule.dialect,
            via=rule.via,
            bridge=rule.key,
            source=arrival.source,
            entry=draft.id or arrival.entry or message_id,
            sender=draft.sender,
            correlation=draft.correlation,
            replies=replies_to(rule.replies, draft.sender),
            notify=replies_to(rule.notify, draft.sender) if rule.notify else "",
            receipts="none" if draft.answers else rule.receipts,
            priority=draft.priority.value,
        )
        came = Bridged.came(message_id, origin, again=arrival.again, now_ms=node.clock_ms())
        try:
            await node.outbox.accept(message, agent, came, reason=f"bridged from {arrival.source}")
        except Conflict as error:  # two at once, from bridges of two names
            log.warning("bridge.known", extra={"id": message_id, "problem": error.message})
            tally.known += 1
            return ""
        except NotAllowed as error:
            return f"{error.message} {error.hint}"
        tally.taken += 1
        log.info("bridge.taken", extra={"id": message_id, "source": arrival.source, "agent": agent})
        return ""

    async def refuse(self, arrival: Arrival, reason: str) -> None:
        """Put it to the dead letters of the bridges, with its bytes, and say so. Raises BrokerUnavailable."""
        node, tally = self._node, self.tally(arrival.rule)
        raw: bytes = msgpack.packb([list(pair) for pair in arrival.pairs])
        broker = await node.broker.wait_up()
        await broker.bury_foreign(
            f"{arrival.source} {arrival.entry}",
            {
                "source": arrival.source,
                "entry": arrival.entry,
                "reason": reason,
                "at_ms": str(node.clock_ms()),
                "bytes": len(raw),
                "raw": raw[:MOST_KEPT_BYTES],
            },
            again=arrival.again,
        )
        self.dropped(tally, arrival.source, reason)

    def ignored(self, arrival: Arrival) -> None:
        """Count what is nobody's business here."""
        self.tally(arrival.rule).ignored += 1

    def dropped(self, tally: Tally, source: str, reason: str) -> None:
        """Count and tell of something that a bridge gave up."""
        node = self._node
        tally.dropped += 1
        tally.dropped_ms, tally.reason = node.clock_ms(), reason
        log.warning("bridge.dropped", extra={"bridge": tally.name, "source": source, "reason": reason})
        node.events.publish(
            {
                "at_ms": tally.dropped_ms,
                "event": "bridge.dropped",
                "id": "",
                "agent": "",
                "state": "",
                "reason": reason,
                "node": node.name,
                "bridge": tally.name,
                "source": source,
            }
        )
