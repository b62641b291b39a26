"""Tell foreign programs what became of their messages, and what agents answered: each once, also after a crash.

What is about to be told is noted first; whoever finds such a note looks into the stream before it is written.
On a channel nobody can look: an answer there may come twice after a crash, with the same id.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from nova_torch.broker import Broker
from nova_torch.errors import BrokerUnavailable, ForeignRefused, MessageNotFound, StoreFailed
from nova_torch.values import AgentId, Hop, MessageId, Receipt, State
from noval_d.bridges.boomerang import DIALECT, encode_task
from noval_d.bridges.decode import MARK
from noval_d.bridges.draft import Outward
from noval_d.bridges.encode import Telling, encode, published
from noval_d.bridges.intake import Intake
from noval_d.bridges.records import Bridged, Row
from noval_d.bridges.tasks import latest
from noval_d.bridges.telling import Due, due
from noval_d.node.pulse import idle

if TYPE_CHECKING:
    from noval_d.node.node import Node

log = logging.getLogger("nova.bridges")

SKEW_MS = 600_000
"""How far the clocks of node and broker may be apart."""
TROUBLED_S = 0.2


class Teller:
    """What is told back by this node: of the messages that its bridges brought."""

    def __init__(self, node: Node, intake: Intake) -> None:
        self._node = node
        self._intake = intake
        self._rows = Bridged(node.store)
        self._due: dict[MessageId, None] = {}
        self._news = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Teller due={len(self._due)}>"

    def heard(self, hop: Hop, _agent: AgentId) -> None:
        """Note that something happened to a message."""
        self._due[hop.message] = None
        self._news.set()

    async def run(self) -> None:
        """Tell until cancelled, first what happened while nobody was there."""
        self._due.update(dict.fromkeys(self._rows.behind()))
        while True:
            if not self._due:
                self._news.clear()
                await idle(self._news.wait)
            message = next(iter(self._due))
            del self._due[message]
            try:
                await self._tell(message)
            except BrokerUnavailable as error:
                self._due[message] = None
                self._node.broker.failed(error)
                await asyncio.sleep(TROUBLED_S)
            except StoreFailed as error:
                self._due[message] = None
                log.warning("bridge.store_failed", extra={"problem": error.message})
                await asyncio.sleep(TROUBLED_S)

    async def _tell(self, message: MessageId) -> None:
        row = self._rows.find(message)
        if row is None:  # no bridge brought it
            return
        broker = await self._node.broker.wait_up()
        try:
            receipt = self._node.outbox.receipt(message)
        except MessageNotFound:
            return
        for each in due(row.origin, receipt, self._node.outbox.hops(message), row.told):
            row = await self._once(broker, row, each, receipt)
        await self._rows.seen(message, receipt.state.value)

    async def _once(self, broker: Broker, row: Row, each: Due, receipt: Receipt) -> Row:
        key, state, reason = each
        if row.origin.dialect == DIALECT and not await self._counts(broker, row):
            return await self._rows.told(row, key)
        body: str | None = None
        if state is State.REPLIED:
            try:
                body = self._node.talk.answer(row.message).body
            except MessageNotFound as error:
                self._intake.dropped(self._intake.tally_of(row.origin), row.origin.source, error.message)
                return await self._rows.told(row, key)
        telling = Telling(
            message=row.message,
            key=key,
            agent=receipt.agent or receipt.target,
            state=state.value,
            reason=reason,
            final=receipt.final and receipt.state is state,
            body=body,
            at_ms=self._node.clock_ms(),
        )
        again = row.again or row.trying == key or row.at_ms < self._node.started_ms
        await self._rows.trying(row.message, key)
        for out in self._encoded(row, telling):
            try:
                await self._write(broker, out, telling.event, row.at_ms - SKEW_MS if again else None)
            except ForeignRefused as error:
                self._intake.dropped(self._intake.tally_of(row.origin), out.name, error.message)
            else:
                self._intake.tally_of(row.origin).told += 1
        return await self._rows.told(row, key)

    async def _counts(self, broker: Broker, row: Row) -> bool:
        """Tell whether a task is still this message's; one that moved on is told of by its new agent only."""
        counts = latest(await broker.task_moves(row.origin.entry))
        return counts is None or counts == row.message

    def _encoded(self, row: Row, telling: Telling) -> list[Outward]:
        config = self._node.config.bridges.boomerang
        if row.origin.dialect != DIALECT:
            return encode(row.origin, telling)
        return encode_task(config, row.origin, telling) if config is not None else []

    async def _write(self, broker: Broker, out: Outward, event: str, since_ms: int | None) -> None:
        if out.via == "stream":
            await broker.append_foreign(out.name, out.fields, event=event, since_ms=since_ms)
        else:
            await broker.publish(out.name, published(out.fields, event, MARK))
