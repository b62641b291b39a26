"""Listen to foreign channels. What is published while nobody listens is lost: a channel is at most once.

Every node that bridges a channel hears it. The owner of the agent takes the message; for an agent whose node does
not bridge it is the first node by name that does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nova_torch.bridging import Rule
from nova_torch.broker import Broker, Heard
from nova_torch.errors import BrokerUnavailable, NovaError, StoreFailed
from nova_torch.ulid import new_ulid
from nova_torch.values import AgentId, MessageId
from noval_d.bridges.address import (
    Station,
    digest,
    own_message_id,
    pattern_of,
    recipients,
    subject_of,
    taker,
)
from noval_d.bridges.decode import decode_bytes
from noval_d.bridges.dialect import dialects
from noval_d.bridges.draft import Ignored, Refusal
from noval_d.bridges.fleet import Fleet, find_again
from noval_d.bridges.intake import Arrival, Intake

if TYPE_CHECKING:
    from noval_d.node.node import Node

log = logging.getLogger("nova.bridges")

WAIT_S = 1.0
RETRY_S = 0.5


class Listening:
    """The channels of all bridges of this node, on one connection."""

    def __init__(self, node: Node, rules: Sequence[Rule], intake: Intake, fleet: Fleet) -> None:
        self._node = node
        self._rules = rules
        self._intake = intake
        self._fleet = fleet
        self.hears = False

    def __repr__(self) -> str:
        return f"<Listening {len(self._rules)} rules{'' if self.hears else ' deaf'}>"

    async def run(self) -> None:
        """Listen until cancelled; nothing new once the node stops."""
        for rule in self._rules:
            self._intake.tally(rule)
        if not self._rules:
            return
        while not self._node.stopping.is_set():
            broker = await self._node.broker.wait_up()
            try:
                await self._listen(broker)
            except BrokerUnavailable as error:
                log.warning("bridge.deaf", extra={"problem": error.message})
                self._deaf(error.message)
                await asyncio.sleep(RETRY_S)

    async def _listen(self, broker: Broker) -> None:
        names = [rule.key for rule in self._rules if pattern_of(rule) is None]
        patterns = sorted({pattern for rule in self._rules if (pattern := pattern_of(rule)) is not None})
        channels = await broker.channels(self._node.name, names, patterns)
        try:
            self._deaf("")
            while self._node.broker.broker is broker and not self._node.stopping.is_set():
                heard = await channels.next(wait_s=WAIT_S)
                if heard is not None:
                    await self._one(broker, heard)
        finally:
            self.hears = False
            await channels.close()

    def _deaf(self, problem: str) -> None:
        self.hears = not problem
        for rule in self._rules:
            self._intake.tally(rule).problem = problem

    async def _one(self, broker: Broker, heard: Heard) -> None:
        found = next(
            ((rule, s) for rule in self._rules if (s := subject_of(rule, heard.channel)) is not None), None
        )
        if found is None or heard.subscription != (pattern_of(found[0]) or found[0].key):
            return  # the pattern of another rule, or a name that no agent can have
        rule, subject = found
        try:
            nodes = await self._fleet.look(broker)
            await self._take(broker, rule, subject, heard, nodes)
        except (BrokerUnavailable, StoreFailed) as error:
            self._lost(rule, heard, error)
            if isinstance(error, BrokerUnavailable):
                raise

    async def _take(
        self, broker: Broker, rule: Rule, subject: str, heard: Heard, nodes: Sequence[Station]
    ) -> None:
        me, bridge = self._node.name, digest(rule)
        mine = taker("", bridge, nodes) == me
        most_bytes = self._node.config.bridges.max_body_bytes
        decoded = decode_bytes(dialects()[rule.dialect], heard.data, most_bytes=most_bytes)
        arrival = Arrival(rule=rule, source=heard.channel, entry="", pairs=((b"data", heard.data),))
        if isinstance(decoded, Ignored):
            self._intake.ignored(arrival)
            return
        if isinstance(decoded, Refusal):
            if mine:
                await self._intake.refuse(arrival, decoded.reason)
            return
        found = recipients(rule, subject, decoded.target, nodes)
        if isinstance(found, str):
            found = await find_again(broker, self._fleet, rule, subject, decoded.target)
        if isinstance(found, str):
            if mine:
                await self._intake.refuse(arrival, found)
            return
        for agent in found:
            if taker(agent, bridge, nodes) != me:
                continue
            message = self._message_id(heard.channel, decoded.id, agent)
            reason = await self._intake.accept(arrival, decoded, agent, message)
            if reason:
                await self._intake.refuse(arrival, reason)

    def _message_id(self, channel: str, own: str, agent: AgentId) -> MessageId:
        now_ms = self._node.clock_ms()
        return own_message_id(channel, own, agent, now_ms) if own else MessageId(new_ulid(now_ms))

    def _lost(self, rule: Rule, heard: Heard, error: NovaError) -> None:
        self._intake.dropped(self._intake.tally(rule), heard.channel, f"lost: {error.message}")
