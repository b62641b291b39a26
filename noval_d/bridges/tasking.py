"""Follow what others do with tasks, and answer questions about them. Repeated after a crash it changes nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nova_torch.bridging import Boomerang
from nova_torch.broker import Broker
from nova_torch.errors import ForeignRefused
from nova_torch.values import AGENT_ID, AgentId
from noval_d.bridges.address import Station, allowed, content_of, stream_message_id
from noval_d.bridges.boomerang import draft_of, notice_of
from noval_d.bridges.draft import Change, Query, Refusal
from noval_d.bridges.intake import Arrival, Intake
from noval_d.bridges.tasks import answer, before_entry, encode_answer, fold, latest

if TYPE_CHECKING:
    from noval_d.node.node import Node

log = logging.getLogger("nova.bridges")

LOOKED_AT = 10_000
"""So many entries of the stream are read back."""


class Tasking:
    """The tasks of one stream."""

    def __init__(self, node: Node, config: Boomerang, intake: Intake) -> None:
        self._node = node
        self._config = config
        self._intake = intake

    def __repr__(self) -> str:
        return f"<Tasking {self._config.tasks}>"

    async def take(
        self, broker: Broker, arrival: Arrival, asked: Change | Query, nodes: Sequence[Station]
    ) -> None:
        """Do what an entry asks for. Raises BrokerUnavailable, ForeignRefused, StoreFailed."""
        if isinstance(asked, Change):
            await self._change(broker, arrival, asked, nodes)
        else:
            await self._query(broker, arrival, asked, nodes)

    async def _change(
        self, broker: Broker, arrival: Arrival, change: Change, nodes: Sequence[Station]
    ) -> None:
        """Give a task to its new agent, and tell the one that had it."""
        entries = await broker.read_back(arrival.source, upto=arrival.entry, most=LOOKED_AT)
        most_bytes = self._node.config.bridges.max_body_bytes
        earlier = [entry for entry in entries if entry.id != arrival.entry]
        known = fold(earlier, most_bytes=most_bytes).get(change.task)
        before = known.assignee if known is not None else ""
        old = before if await self._ours(broker, before, nodes) else ""
        new = change.assignee if await self._ours(broker, change.assignee, nodes) else ""
        if known is None and new:
            reason = f"no create_task of {change.task[:64]!r} is among the last {LOOKED_AT} entries"
            await self._intake.refuse(arrival, reason)
            return
        if known is None or known.over or before == change.assignee or not (old or new):
            self._intake.ignored(arrival)
            return
        content = content_of(arrival.pairs)
        message = stream_message_id(arrival.source, arrival.entry, content, new)
        had = latest(before_entry(await broker.task_moves(change.task), arrival.entry))
        if had is None:  # it never moved: it is the message of the entry that created it
            created = next(entry.fields for entry in entries if entry.id == known.created)
            had = stream_message_id(arrival.source, known.created, content_of(created), old)
        await broker.move_task(change.task, arrival.entry, message if new else "")
        reasons: set[str] = set()
        if new:
            task = draft_of(
                {**known.asked, "task_id": change.task, "assignee": new}, known.created, before=before
            )
            if isinstance(task, Refusal):
                reasons.add(task.reason)
            else:
                reasons.add(await self._intake.accept(arrival, task, AgentId(new), message))
        if old:
            told = stream_message_id(arrival.source, arrival.entry, b"moved" + content, old)
            notice = notice_of(known.asked, known.title, change, had)
            reasons.add(await self._intake.accept(arrival, notice, AgentId(old), told))
        for reason in reasons - {""}:
            await self._intake.refuse(arrival, reason)
        log.info("bridge.task_moved", extra={"task": change.task, "before": before, "now": change.assignee})

    async def _query(self, broker: Broker, arrival: Arrival, query: Query, nodes: Sequence[Station]) -> None:
        """Answer a question about tasks of our agents, once."""
        if not self._config.answers:
            self._intake.ignored(arrival)
            return
        entries = await broker.read_back(arrival.source, upto="+", most=LOOKED_AT)
        known = fold(entries, most_bytes=self._node.config.bridges.max_body_bytes).values()
        assignees = {task.assignee for task in known}
        ours = {who for who in assignees if await self._ours(broker, who, nodes)}
        details = answer(query, [task for task in known if task.assignee in ours])
        if isinstance(details, Refusal):
            await self._intake.refuse(arrival, details.reason)
            return
        if details is None:  # a task of somebody else, who may answer
            self._intake.ignored(arrival)
            return
        now_ms = self._node.clock_ms()
        fields = encode_answer(query, details, entry=arrival.entry, source=self._node.name, at_ms=now_ms)
        tally = self._intake.tally(arrival.rule)
        since_ms = int(arrival.entry.partition("-")[0]) if arrival.again else None
        try:
            await broker.append_foreign(
                self._config.events, fields, event=f"{arrival.entry}.answer", since_ms=since_ms
            )
        except ForeignRefused as error:
            self._intake.dropped(tally, self._config.events, error.message)
        else:
            tally.told += 1

    async def _ours(self, broker: Broker, name: str, nodes: Sequence[Station]) -> bool:
        """Tell whether this is an agent of the fleet that may be given tasks, also of a node that is down."""
        if not AGENT_ID.match(name) or not allowed(self._config.targets, name):
            return False
        return any(name in node.agents for node in nodes) or await broker.owner_of(name) is not None
