"""Read foreign streams: an entry is acknowledged when its messages are in the outbox, or it is a dead letter.

The id of a message comes from its entry, so that one that is read again, here after a crash or by another node that
takes it over, is the same message and is typed once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nova_torch.bridging import Rule
from nova_torch.broker import Broker, ForeignEntry
from nova_torch.errors import BrokerUnavailable, ForeignRefused, StoreFailed
from noval_d.bridges.address import Station, content_of, recipients, stream_message_id, streams_of
from noval_d.bridges.boomerang import DIALECT, decode_task
from noval_d.bridges.decode import decode_fields
from noval_d.bridges.dialect import dialects
from noval_d.bridges.draft import Change, Draft, Ignored, Query, Refusal, Task
from noval_d.bridges.fleet import Fleet, find_again
from noval_d.bridges.intake import Arrival, Intake
from noval_d.bridges.tasking import Tasking

if TYPE_CHECKING:
    from noval_d.node.node import Node

log = logging.getLogger("nova.bridges")

BLOCK_S = 1.0
"""A stream of an agent that is new is read after this at the latest."""
COUNT = 32
CLAIM_EVERY_S = 10.0
CLAIM_IDLE_S = 20.0
"""What a node has read and not acknowledged for so long, another takes over."""
BAD_S = 30.0
"""A key that is no stream is looked at again after this."""
TROUBLED_S = 0.2
REFUSED = 5  # refusals one after the other that are no coincidence


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    rule: Rule
    subject: str


class Streams:
    """The streams of all bridges of this node, by one blocking read."""

    def __init__(self, node: Node, rules: Sequence[Rule], intake: Intake, fleet: Fleet) -> None:
        self._node = node
        self._rules = rules
        self._intake = intake
        self._fleet = fleet
        config = node.config.bridges.boomerang
        self._tasking = Tasking(node, config, intake) if config is not None else None
        self._joined: set[str] = set()
        self._unsure: set[str] = set()
        """Streams of which something may be pending for this node."""
        self._bad: dict[str, float] = {}
        self._claim_at = 0.0
        self._refused = 0

    def __repr__(self) -> str:
        return f"<Streams {len(self._joined)} joined, {len(self._bad)} bad>"

    async def run(self) -> None:
        """Read until cancelled; nothing new once the node stops."""
        while not self._node.stopping.is_set():
            broker = await self._node.broker.wait_up()
            try:
                await self._round(broker)
                self._refused = 0
            except BrokerUnavailable as error:
                self._node.broker.failed(error)
                await self._start_over()
            except ForeignRefused as error:
                log.info("bridge.streams_changed", extra={"problem": error.message})
                self._refused += 1
                if self._refused >= REFUSED:  # not one that was deleted, which is made again
                    for rule in self._rules:
                        self._intake.tally(rule).problem = error.message.rstrip(".")
                await self._start_over()
            except StoreFailed as error:
                log.warning("bridge.store_failed", extra={"problem": error.message})
                await self._start_over()

    async def _start_over(self) -> None:
        self._unsure |= self._joined
        self._joined.clear()
        await asyncio.sleep(TROUBLED_S)

    async def _round(self, broker: Broker) -> None:
        nodes = await self._fleet.look(broker)
        wanted = await self._join(broker, self._wanted(nodes))
        if not wanted:
            await asyncio.sleep(BLOCK_S)
            return
        for stream in sorted(self._unsure & wanted.keys()):
            await self._pending(broker, stream, wanted, nodes)
            self._unsure.discard(stream)
        now = self._node.clock()
        if now - self._claim_at >= CLAIM_EVERY_S:
            self._claim_at = now
            claimed = await broker.claim_entries(self._node.name, sorted(wanted), idle_s=CLAIM_IDLE_S)
            await self._take(broker, claimed, wanted, nodes)
        entries = await broker.read_streams(self._node.name, sorted(wanted), count=COUNT, block_s=BLOCK_S)
        if entries:  # whoever is registered now may be meant
            await self._take(broker, entries, wanted, await self._fleet.look(broker))

    def _wanted(self, nodes: Sequence[Station]) -> dict[str, _Source]:
        found: dict[str, _Source] = {}
        for rule in self._rules:
            for stream, subject in streams_of(rule, nodes, self._node.name).items():
                found.setdefault(stream, _Source(rule=rule, subject=subject))
        now = self._node.clock()
        return {stream: source for stream, source in found.items() if self._bad.get(stream, 0.0) <= now}

    async def _join(self, broker: Broker, wanted: Mapping[str, _Source]) -> dict[str, _Source]:
        """Make the groups that are missing; return the streams that can be read."""
        new = [stream for stream in wanted if stream not in self._joined]
        problems: dict[str, str] = {}
        if new:
            backlog_s = self._node.config.bridges.backlog_s
            problems = await broker.join_streams(new, backlog_s=backlog_s)
            self._unsure.update(new)
        for stream in new:
            tally = self._intake.tally(wanted[stream].rule)
            tally.problem = f"{stream}: {problems[stream]}" if stream in problems else ""
            if stream in problems:
                self._bad[stream] = self._node.clock() + BAD_S
                log.warning("bridge.unreadable", extra={"stream": stream, "problem": problems[stream]})
        self._joined = {stream for stream in wanted if stream not in problems}
        return {stream: source for stream, source in wanted.items() if stream not in problems}

    async def _pending(
        self, broker: Broker, stream: str, wanted: Mapping[str, _Source], nodes: Sequence[Station]
    ) -> None:
        after = "0"
        while entries := await broker.pending_entries(self._node.name, stream, after=after, count=COUNT):
            await self._take(broker, entries, wanted, nodes)
            after = entries[-1].id

    async def _take(
        self,
        broker: Broker,
        entries: Iterable[ForeignEntry],
        wanted: Mapping[str, _Source],
        nodes: Sequence[Station],
    ) -> None:
        done: dict[str, list[str]] = {}
        try:
            for entry in entries:
                source = wanted.get(entry.stream)
                if source is not None:
                    await self._one(broker, entry, source, nodes)
                    done.setdefault(entry.stream, []).append(entry.id)
        finally:
            for stream, ids in done.items():
                await broker.done_entries(stream, ids)

    async def _one(
        self, broker: Broker, entry: ForeignEntry, source: _Source, nodes: Sequence[Station]
    ) -> None:
        rule = source.rule
        if not entry.fields:  # deleted since it was read
            return
        arrival = Arrival(
            rule=rule, source=entry.stream, entry=entry.id, pairs=entry.fields, again=entry.claimed
        )
        decoded = self._decode(entry, rule)
        if isinstance(decoded, Refusal):
            await self._intake.refuse(arrival, decoded.reason)
            return
        if isinstance(decoded, Ignored):
            self._intake.ignored(arrival)
            return
        if isinstance(decoded, Change | Query):
            assert self._tasking is not None
            await self._tasking.take(broker, arrival, decoded, nodes)
            return
        found = recipients(rule, source.subject, decoded.target, nodes)
        if isinstance(found, str):
            found = await find_again(broker, self._fleet, rule, source.subject, decoded.target)
        if isinstance(found, str):
            if rule.dialect == DIALECT:  # a task of somebody else
                self._intake.ignored(arrival)
            else:
                await self._intake.refuse(arrival, found)
            return
        content = content_of(entry.fields)
        refused: set[str] = set()
        for agent in found:
            message = stream_message_id(entry.stream, entry.id, content, agent)
            refused.add(await self._intake.accept(arrival, decoded, agent, message))
        for reason in refused - {""}:
            await self._intake.refuse(arrival, reason)

    def _decode(self, entry: ForeignEntry, rule: Rule) -> Task:
        most_bytes = self._node.config.bridges.max_body_bytes
        decoded: Task
        if rule.dialect == DIALECT:
            decoded = decode_task(entry.fields, entry.id, most_bytes=most_bytes)
        else:
            decoded = decode_fields(dialects()[rule.dialect], entry.fields, most_bytes=most_bytes)
        if isinstance(decoded, Draft) and not decoded.body.strip():
            return Refusal(reason="it is empty")
        return decoded
