"""Streams, channels and keys of other programs: read with a group of our own, written so that twice is once.

Their names come from the configuration of bridges; only the dead letters of bridges are a key of ours. A reply of
the server that concerns one foreign key (it is of another type, it is not there) is ForeignRefused and not the end
of the connection.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis import exceptions as redis_errors

from nova_torch.broker import scripts
from nova_torch.broker.channels import Channels
from nova_torch.broker.connection import MAX_BLOCK_S
from nova_torch.broker.part import Part
from nova_torch.broker.refusals import RIGHTS
from nova_torch.broker.wires import Command, Word
from nova_torch.errors import BrokerUnavailable, ForeignRefused, NovaError

GROUP = "nova-bridge"
"""The group in which all nodes read: an entry is given to one of them. Readers of other programs have their own."""
EVENT = "nova_event"
"""The field of what we write that says what it tells of: never read back, never written twice."""
DEAD_KEPT = 10_000
CLAIM = 64
POLL_S = 0.1
PAGE = 500
MOVES_KEPT_S = 30 * 86_400
"""How long it is known that a task was given to another."""

TROUBLES = (redis_errors.BusyLoadingError, redis_errors.ReadOnlyError, redis_errors.OutOfMemoryError)
"""Refusals that are the server's own trouble, whatever the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignEntry:
    """One entry of a foreign stream, its fields in their order."""

    stream: str
    id: str
    fields: tuple[tuple[bytes, bytes], ...]
    claimed: bool = False
    """Another node has read it and not acknowledged it: it may be known already."""

    def __repr__(self) -> str:
        return f"<ForeignEntry {self.stream} {self.id} {len(self.fields)} fields>"


class Foreign(Part):
    """What bridges ask of the broker."""

    _apart = False
    """Whether the streams of this broker have several slots."""

    async def join_streams(self, streams: Sequence[str], *, backlog_s: float) -> dict[str, str]:
        """Make the group of each stream where it is missing; return what is wrong with some of them.

        A new group begins with what was written within `backlog_s`.
        """
        seconds, _ = await self._link.command("TIME")
        start = f"{max(int(seconds) * 1000 - round(backlog_s * 1000), 0)}-0"
        made = [("XGROUP", "CREATE", stream, GROUP, start, "MKSTREAM") for stream in streams]
        problems: dict[str, str] = {}
        for stream, reply in zip(streams, await self._tried(made), strict=True):
            if isinstance(reply, Exception) and not str(reply).startswith("BUSYGROUP"):
                problems[stream] = str(reply)[:160]
        return problems

    async def read_streams(
        self, node: str, streams: Sequence[str], *, count: int, block_s: float
    ) -> list[ForeignEntry]:
        """Return new entries, `count` a stream at most; [] when none comes in `block_s` (at most 5).

        What was read is pending for `node` until it is acknowledged. After any error read `pending_entries` first:
        a reply may have been lost. Raises ForeignRefused when a stream or its group is not there.
        """
        if self._apart:
            return await self._polled(node, streams, count=count, wait_s=block_s)
        block_ms = round(min(max(block_s, 0.001), MAX_BLOCK_S) * 1000)
        words: list[Word] = ["XREADGROUP", "GROUP", GROUP, node, "COUNT", count, "BLOCK", block_ms, "STREAMS"]
        try:
            reply = await self._link.blocking(f"bridges.{node}", *words, *streams, *[">"] * len(streams))
        except BrokerUnavailable as error:
            if isinstance(error.__cause__, redis_errors.ClusterCrossSlotError):
                self._apart = True
                return []
            raise _refused(error) from error
        return [entry for stream, rows in reply or () for entry in _entries(stream.decode(), rows)]

    async def _polled(
        self, node: str, streams: Sequence[str], *, count: int, wait_s: float
    ) -> list[ForeignEntry]:
        """Look at each stream again and again: in a cluster nobody waits for keys of several slots at once."""
        asked = [("XREADGROUP", "GROUP", GROUP, node, "COUNT", count, "STREAMS", s, ">") for s in streams]
        end = time.monotonic() + wait_s
        while True:
            replies = await self._tried(asked)
            try:
                self._link.refused(*replies)
            except BrokerUnavailable as error:
                raise _refused(error) from error
            found = [e for reply in replies for s, rows in reply or () for e in _entries(s.decode(), rows)]
            if found or time.monotonic() >= end:
                return found
            await asyncio.sleep(POLL_S)

    async def pending_entries(self, node: str, stream: str, *, after: str, count: int) -> list[ForeignEntry]:
        """Return what `node` read of a stream and did not acknowledge, behind the entry `after`."""
        try:
            reply = await self._link.command(
                "XREADGROUP", "GROUP", GROUP, node, "COUNT", count, "STREAMS", stream, after
            )
        except BrokerUnavailable as error:
            raise _refused(error) from error
        return [entry for _, rows in reply or () for entry in _entries(stream, rows, known=True)]

    async def claim_entries(self, node: str, streams: Sequence[str], *, idle_s: float) -> list[ForeignEntry]:
        """Take over what any node read and did not acknowledge for `idle_s`: it may be gone.

        Raises ForeignRefused when the broker's user may not.
        """
        idle_ms = round(idle_s * 1000)
        asked = [("XAUTOCLAIM", s, GROUP, node, idle_ms, "0-0", "COUNT", CLAIM) for s in streams]
        found: list[ForeignEntry] = []
        for stream, reply in zip(streams, await self._tried(asked), strict=True):
            if isinstance(reply, redis_errors.NoPermissionError):
                raise ForeignRefused(f"the broker says {str(reply)[:160]}.", RIGHTS)
            if not isinstance(reply, Exception):
                found += _entries(stream, reply[1], known=True)
        return found

    async def done_entries(self, stream: str, ids: Sequence[str]) -> None:
        """Acknowledge entries. They stay in the stream, for its other readers."""
        if ids:
            await self._tried([("XACK", stream, GROUP, *ids)])

    async def append_foreign(
        self, stream: str, fields: Mapping[str, str], *, event: str, since_ms: int | None
    ) -> bool:
        """Add an entry that tells of `event`; with `since_ms` only if none since then does. True when added.

        Raises ForeignRefused when the key is no stream.
        """
        words: list[Word] = [word for pair in fields.items() for word in pair]
        script = scripts.append_once((len(words) + 2) // 2)
        least = "" if since_ms is None else f"{max(since_ms, 0)}-0"
        try:
            reply = await self._link.script(script, (stream,), event, least, *words, EVENT, event)
        except BrokerUnavailable as error:
            raise _refused(error) from error
        return reply[1] == b"new"

    async def read_back(self, stream: str, *, upto: str, most: int) -> list[ForeignEntry]:
        """Return the last `most` entries up to and with the entry `upto` ("+": all), oldest first.

        Raises ForeignRefused when the key is no stream.
        """
        found: list[ForeignEntry] = []
        while len(found) < most:
            count = min(PAGE, most - len(found))
            try:
                rows = await self._link.command("XREVRANGE", stream, upto, "-", "COUNT", count)
            except BrokerUnavailable as error:
                raise _refused(error) from error
            page = _entries(stream, rows)
            found += page
            upto = before(page[-1].id) if page else ""
            if len(rows) < count or not upto:
                break
        return found[::-1]

    async def append_event(self, stream: str, fields: Mapping[str, str], *, keep: int) -> None:
        """Add an entry to a stream of which about `keep` are kept. Raises ForeignRefused when it is none."""
        words = [word for pair in fields.items() for word in pair]
        try:
            await self._link.command("XADD", stream, "MAXLEN", "~", keep, "*", *words)
        except BrokerUnavailable as error:
            raise _refused(error) from error

    async def move_task(self, task: str, entry: str, message: str) -> None:
        """Note that since `entry` a task is that of `message`, or of none of ours (""). The same again is fine."""
        key = self._keys.bridged_task(task)
        await self._link.batch([("HSET", key, entry, message), ("EXPIRE", key, MOVES_KEPT_S)])

    async def task_moves(self, task: str) -> dict[str, str]:
        """Return the moves of a task: entry -> message that counts since."""
        (flat,) = await self._link.batch([("HGETALL", self._keys.bridged_task(task))])
        pairs = zip(flat[::2], flat[1::2], strict=True)
        return {entry.decode(): message.decode() for entry, message in pairs}

    async def publish(self, channel: str, data: bytes) -> int:
        """Publish on a foreign channel; return how many heard it."""
        try:
            return int(await self._link.command("PUBLISH", channel, data))
        except BrokerUnavailable as error:
            raise _refused(error) from error

    async def bury_foreign(self, event: str, fields: Mapping[str, Word], *, again: bool) -> None:
        """Put what a bridge did not take to the dead letters of bridges; `again` if that may have been done."""
        words: list[Word] = [word for pair in fields.items() for word in pair]
        script = scripts.append_once((len(words) + 2) // 2)
        dead = self._keys.bridges_dead
        await self._link.script(script, (dead,), event, "0-0" if again else "", *words, EVENT, event)
        await self._link.command("XTRIM", dead, "MAXLEN", DEAD_KEPT)

    async def channels(self, node: str, names: Sequence[str], patterns: Sequence[str]) -> Channels:
        """Listen to channels and patterns of channels, on a connection of its own. Close it when done."""
        return await Channels.open(self._link, names, patterns, beat=self._keys.node(node).beat)

    # -- the registry of old readers --

    async def mirror(
        self,
        hashes: Mapping[str, Mapping[str, str]],
        *,
        once: Mapping[str, str],
        dead_s: float,
        active: str,
        present: Sequence[str],
        absent: Sequence[str],
        gone: Sequence[str],
    ) -> list[str]:
        """Write hashes of agents that end in `dead_s`; members of the set `active` in and out; delete `gone` keys.

        `once` are fields that a hash keeps from its first time. Returns what the broker refused.
        """
        commands: list[Command] = []
        for key, values in hashes.items():
            commands.append(("HSET", key, *(word for pair in values.items() for word in pair)))
            commands += [("HSETNX", key, name, value) for name, value in once.items()]
            commands.append(("EXPIRE", key, round(dead_s)))
        if present:
            commands.append(("SADD", active, *present))
        if absent:
            commands.append(("SREM", active, *absent))
        commands += [("DEL", key) for key in gone]  # of several shards, perhaps
        replies = await self._tried(commands) if commands else []
        return sorted({str(reply)[:160] for reply in replies if isinstance(reply, Exception)})

    async def say_for(self, key: str, word: str, seconds: float) -> None:
        """Set a key that ends by itself."""
        await self._tried([("SET", key, word, "PX", round(seconds * 1000))])

    async def _tried(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands of which each may be refused; the refusals are in the replies."""
        replies = await self._link.tried(commands)
        for reply in replies:
            if isinstance(reply, Exception) and not isinstance(reply, redis_errors.ResponseError):
                raise reply
        return replies


def before(entry: str) -> str:
    """Return the greatest id below that of an entry; "" when there is none."""
    ms, _, seq = entry.partition("-")
    if int(seq) > 0:
        return f"{ms}-{int(seq) - 1}"
    return f"{int(ms) - 1}-{(1 << 64) - 1}" if int(ms) > 0 else ""


def _refused(error: BrokerUnavailable) -> NovaError:
    """Return what the broker said of a key as ForeignRefused; anything else as it is."""
    cause = error.__cause__
    if isinstance(cause, redis_errors.ResponseError) and not isinstance(cause, TROUBLES):
        return ForeignRefused(f"the broker says {str(cause)[:160]}.", "See bridges in the configuration.")
    return error


def _entries(stream: str, rows: Sequence[Any] | None, *, known: bool = False) -> list[ForeignEntry]:
    found: list[ForeignEntry] = []
    for row in rows or ():
        if not row:
            continue  # deleted since
        entry_id, flat = row[0], row[1] or ()
        pairs = tuple(zip(flat[::2], flat[1::2], strict=False))
        found.append(ForeignEntry(stream=stream, id=entry_id.decode(), fields=pairs, claimed=known))
    return found
