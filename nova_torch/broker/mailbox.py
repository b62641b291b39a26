"""Mailboxes: put messages in, ring the owner's bell, read, acknowledge and bury under the owner's fence.

A mailbox has two lanes, `hi` and `mbx`, each in order. One owner (node and epoch) reads it at a time; every
read, ack and bury of another is refused with NotOwner. A mailbox that is gone (the broker was wiped) raises
MailboxLost: claim it again. Source: BROKER, section 4.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from nova_torch.broker import scripts
from nova_torch.broker.connection import MAX_BLOCK_S, Link
from nova_torch.broker.part import Part, check
from nova_torch.broker.wires import Command, Word
from nova_torch.keys import CONSUMER, GROUP, Keys
from nova_torch.values import Priority

BELLS = 64
"""Mailboxes taken from the bell at once."""
BATCH = 256
BATCH_BYTES = 4 * 1024 * 1024
"""A batch is cut at either: one write must pass within the limit of a command."""
OWNERS = 100_000
"""Of so many mailboxes it is remembered whose they are; then it is seen again."""
KEEP_S = 7 * 24 * 3600
"""How long the bell of a silent node stays."""


class Lane(StrEnum):
    """One of the two streams of a mailbox; `hi` is read first."""

    HI = "hi"
    MBX = "mbx"

    @classmethod
    def of(cls, priority: Priority) -> Lane:
        """Return the lane for messages of this priority."""
        return cls.HI if priority.rank <= Priority.HIGH.rank else cls.MBX


_SCORES = {Lane.HI: 0, Lane.MBX: 1}
"""Of the lanes, in a bell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who may read a mailbox: a node, as of its epoch."""

    node: str
    epoch: int

    def __str__(self) -> str:
        return f"{self.node}|{self.epoch}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Enqueue:
    """A message on its way into a mailbox. `limit` is how many the lane may hold."""

    agent: str
    message_id: str
    lane: Lane
    payload: bytes
    limit: int
    origin: str = ""
    """The node whose outbox it is in."""
    owner: str = ""
    """The owner of the mailbox as it is known there (`Enqueued.owner`): of another one nothing is put in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enqueued:
    """What became of it. `error` is empty, or:

    `no_agent` (no node owns the mailbox), `moved` (another one than was named does), `full`, `unfit` (a key of the
    mailbox has another type).
    """

    owner: str = ""
    """The owner, as of its epoch."""
    owner_node: str | None = None
    duplicate: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A message as it lies in a mailbox. An empty `entry_id`: it never was in one."""

    lane: Lane
    entry_id: str
    message_id: str
    payload: bytes
    holder: str = ""
    """The node that may have typed it, or may yet; empty while nobody may."""

    def __repr__(self) -> str:
        return f"<Entry {self.lane} {self.entry_id} {self.message_id} {len(self.payload)} bytes>"


class Mailboxes(Part):
    """The mailboxes of one broker."""

    def __init__(self, link: Link, keys: Keys) -> None:
        super().__init__(link, keys)
        self._owners: dict[str, str] = {}
        """The node that each mailbox was last seen to be of: its bell is rung along with what goes in."""

    async def claim(self, agent: str, owner: Owner, *, over: Owner | None = None) -> None:
        """Make `owner` the one who reads the mailbox, which is made when it is missing.

        Takes it over from an earlier epoch of the same node, and from `over`: that its lease is over is what the
        caller has seen (`owner_of`, `nodes`). Raises NotOwner.
        """
        keys = self._keys.mailbox(agent)
        words = await self._link.script(
            scripts.CLAIM,
            (keys.own, keys.hi, keys.mbx),
            owner.node, owner.epoch, GROUP, "" if over is None else str(over),
        )  # fmt: skip
        check(words, agent)

    async def claim_for(self, agent: str, owner: Owner, *, seconds: int) -> None:
        """Claim a mailbox that ends by itself, with what is in it, `seconds` after the last such claim."""
        keys = self._keys.mailbox(agent)
        words = await self._link.script(
            scripts.CLAIM_FOR,
            (keys.own, keys.hi, keys.mbx, keys.seen),
            owner.node, owner.epoch, GROUP, "", seconds,
        )  # fmt: skip
        check(words, agent)

    async def owner_of(self, agent: str) -> Owner | None:
        """Return who owns the mailbox, or None when nobody has claimed it."""
        raw: bytes | None = await self._link.command("GET", self._keys.mailbox(agent).own)
        owner = None if raw is None else parse_owner(raw)
        self._owners[agent] = "" if owner is None else owner.node
        return owner

    def seen_owned(self, agent: str) -> bool:
        """Tell whether an owner of the mailbox was seen: then its bell is rung along with what goes in."""
        return bool(self._owners.get(agent))

    async def release(self, agent: str, owner: Owner, *, drop: bool) -> int:
        """Give the mailbox up; with `drop` delete what waits in it. Return how many messages waited.

        Without an owner the mailbox takes no more messages (`no_agent`). Dead letters of a dropped mailbox
        stay for a week. Raises NotOwner.
        """
        keys = self._keys.mailbox(agent)
        words = await self._link.script(
            scripts.RELEASE,
            (keys.own, keys.hi, keys.mbx, keys.seen, keys.dead),
            str(owner),
            int(drop),
            KEEP_S,
        )
        check(words, agent)
        return int(words[1])

    async def enqueue(self, items: Sequence[Enqueue]) -> list[Enqueued]:
        """Put `items` into their mailboxes, in order, and ring the owners' bells.

        Idempotent by message id: what lies in the mailbox already is not added, and its bell is rung again.
        Once a lane has refused one, it refuses the rest too, so that none overtakes another. Cut into batches;
        when one fails, BrokerUnavailable, and all may be sent again.
        """
        done: list[Enqueued] = []
        refused: dict[tuple[str, Lane], Enqueued] = {}
        for batch in _batches(items):
            going = [item for item in batch if (item.agent, item.lane) not in refused]
            guessed = [(self._owners.get(item.agent, ""), item.agent, item.lane) for item in going]
            results = iter(await self._put(going, _bells(self._keys, guessed)))
            before = frozenset(refused)  # what is refused from here on has a result of its own
            rung: list[tuple[str, str, Lane]] = []
            for item in batch:
                lane = (item.agent, item.lane)
                result = refused[lane] if lane in before else next(results)
                if result.error:
                    refused[lane] = result
                elif result.owner_node:
                    rung.append((result.owner_node, item.agent, item.lane))
                done.append(result)
            await ring(self._link, self._keys, set(rung) - set(guessed))
        return done

    async def _put(self, batch: Sequence[Enqueue], bells: Sequence[Command] = ()) -> list[Enqueued]:
        """Run one script a mailbox, then ring; return what became of each of `batch`, in its order."""
        if not batch:
            return []
        places: dict[str, list[int]] = {}
        for n, item in enumerate(batch):
            places.setdefault(item.agent, []).append(n)
        runs: list[tuple[Sequence[str], Sequence[Word]]] = []
        for agent, mine in places.items():
            keys, first = self._keys.mailbox(agent), batch[mine[0]]
            words: list[Word] = [first.limit, first.origin, first.owner]
            for n in mine:
                words += (batch[n].message_id, batch[n].payload, batch[n].lane)
            runs.append(((keys.own, keys.hi, keys.mbx, keys.seen), words))
        replies = await self._link.scripts(scripts.ENQUEUE, runs, bells)
        if len(self._owners) > OWNERS:
            self._owners.clear()
        done: dict[int, Enqueued] = {}
        for (agent, mine), reply in zip(places.items(), replies, strict=True):
            found = _enqueued(reply, len(mine))
            self._owners[agent] = found[0].owner_node or ""
            done.update(zip(mine, found, strict=True))
        return [done[n] for n in range(len(batch))]

    async def bells(self, node: str, *, block_s: float) -> list[tuple[str, Lane]]:
        """Take up to 64 rung mailboxes of `node`, `hi` first; [] when none rings in `block_s` (at most 5).

        To stop, let it return. When the caller is cancelled all the same, the next call for this node gets
        what the server gave. A bell says that there may be something; reading both lanes answers it.
        """
        block_s = min(max(block_s, 0.01), MAX_BLOCK_S)
        bell = self._keys.node(node).bell
        reply = await self._link.blocking(
            f"bells.{node}", "BZMPOP", f"{block_s:.3f}", 1, bell, "MIN", "COUNT", BELLS
        )
        if not reply:
            return []
        return [
            (agent.decode(errors="replace"), Lane.HI if float(score) < 1 else Lane.MBX)
            for agent, score in reply[1]
        ]

    async def read(
        self,
        agent: str,
        owner: Owner,
        *,
        count: int,
        pending: bool = False,
        after: Mapping[Lane, str] | None = None,
    ) -> list[Entry]:
        """Read up to `count` entries, `hi` first: new ones, or with `pending` those read and not acked.

        A read whose reply was lost has left its entries pending: after every start, reconnect and error read
        the pending ones first. `after` gives the last entry seen of a lane (`pending_pages` does it all).
        Raises NotOwner, MailboxLost.
        """
        keys = self._keys.mailbox(agent)
        seen = after or {}
        cursors = [seen.get(lane, "0") if pending else ">" for lane in Lane]
        words = await self._link.script(
            scripts.READ,
            (keys.own, keys.hi, keys.mbx, keys.seen),
            str(owner), GROUP, CONSUMER, count, *cursors,
        )  # fmt: skip
        check(words, agent)
        return [
            Entry(
                lane=Lane(words[n].decode()),
                entry_id=words[n + 1].decode(),
                message_id=words[n + 2].decode(errors="replace"),
                payload=words[n + 3],
                holder=words[n + 4].decode(errors="replace"),
            )
            for n in range(1, len(words), 5)
        ]

    async def pending_pages(self, agent: str, owner: Owner, *, count: int = 64) -> AsyncIterator[list[Entry]]:
        """Yield every entry that was read and not acknowledged, in pages of `count`."""
        after: dict[Lane, str] = {}
        while page := await self.read(agent, owner, count=count, pending=True, after=after):
            yield page
            after |= {entry.lane: entry.entry_id for entry in page}

    async def hold(self, agent: str, owner: Owner, message_id: str, *, typing: bool = True) -> None:
        """Note in the mailbox that its owner is about to type a message, or (not `typing`) that it did not.

        A later owner reads it as the entry's `holder`. Raises NotOwner, MailboxLost.
        """
        keys = self._keys.mailbox(agent)
        holder = owner.node if typing else ""
        check(
            await self._link.script(scripts.HOLD, (keys.own, keys.seen), str(owner), message_id, holder),
            agent,
        )

    async def ack(self, agent: str, owner: Owner, entries: Iterable[tuple[Lane, str]]) -> None:
        """Acknowledge and delete entries, given as lane and entry id. Raises NotOwner, MailboxLost."""
        words: list[Word] = [word for lane, entry_id in entries for word in (lane, entry_id)]
        if not words:
            return
        keys = self._keys.mailbox(agent)
        reply = await self._link.script_along(
            scripts.ACK, (keys.own, keys.hi, keys.mbx, keys.seen), str(owner), GROUP, *words
        )
        check(reply, agent)

    async def backlog(self, agents: Sequence[str]) -> dict[str, int]:
        """Return for each agent how many messages lie in its mailbox, those that are being typed included."""
        if not agents:
            return {}
        keys = [self._keys.mailbox(agent) for agent in agents]
        lengths = await self._link.batch([("XLEN", stream) for k in keys for stream in (k.hi, k.mbx)])
        return {agent: lengths[2 * n] + lengths[2 * n + 1] for n, agent in enumerate(agents)}

    async def lying(self, agents: Sequence[str], count: int) -> dict[str, list[tuple[str, bytes]]]:
        """Return what lies in these mailboxes, the newest `count` of each lane: message ids and payloads.

        Nobody's reading is disturbed. What its owner has taken out, to be typed or because it was, is not there.
        """
        if not agents:
            return {}
        keys = [self._keys.mailbox(agent) for agent in agents]
        asked = [("XREVRANGE", lane, "+", "-", "COUNT", count) for k in keys for lane in (k.hi, k.mbx)]
        lanes = iter(await self._link.batch(asked))
        found = {}
        for agent in agents:
            entries = [dict(zip(f[::2], f[1::2], strict=True)) for _, f in (*next(lanes), *next(lanes))]
            found[agent] = [(e.get(b"i", b"").decode(errors="replace"), e.get(b"p", b"")) for e in entries]
        return found

    async def worth_reading(self, agents: Sequence[str], owner: Owner) -> set[str]:
        """Return those whose mailbox holds anything, or is not (any more) of `owner`: reading says why.

        One round trip without a script, so that looking into ten thousand empty mailboxes costs next to nothing.
        """
        if not agents:
            return set()
        keys = [self._keys.mailbox(agent) for agent in agents]
        asked = [ask for k in keys for ask in (("GET", k.own), ("XLEN", k.hi), ("XLEN", k.mbx))]
        replies = await self._link.batch(asked)
        ours = str(owner).encode()
        threes = zip(agents, replies[::3], replies[1::3], replies[2::3], strict=True)
        return {agent for agent, own, hi, mbx in threes if own != ours or hi or mbx}


async def ring(link: Link, keys: Keys, rung: Iterable[tuple[str, str, Lane]]) -> None:
    """Ring bells, given as node, agent and lane, in one write. One of another type is its node's to tell of."""
    if commands := _bells(keys, rung):
        await link.fit(commands)


def _bells(keys: Keys, rung: Iterable[tuple[str, str, Lane]]) -> list[Command]:
    """Return what rings bells, given as node (or nobody), agent and lane."""
    bells: dict[str, dict[str, int]] = {}
    for node, agent, lane in rung:
        if node:
            scores = bells.setdefault(node, {})
            scores[agent] = min(_SCORES[lane], scores.get(agent, 1))
    commands: list[Command] = []
    for node, scores in bells.items():
        bell = keys.node(node).bell
        words: list[Word] = ["ZADD", bell, "LT"]
        for agent, score in scores.items():
            words += (score, agent)
        commands += (tuple(words), ("EXPIRE", bell, KEEP_S))
    return commands


def parse_owner(raw: bytes) -> Owner:
    """Read `node|epoch`; whatever else somebody wrote there is an owner that no node is."""
    node, _, epoch = raw.decode(errors="replace").rpartition("|")
    return Owner(node=node, epoch=int(epoch) if epoch.isascii() and epoch.isdigit() else 0)


def _enqueued(words: Sequence[bytes] | None, count: int) -> list[Enqueued]:
    """Return what the script said of each of `count` messages for one mailbox."""
    if words is None:
        return [Enqueued(error="unfit")] * count
    if words[0] == b"no_agent":
        return [Enqueued(error="no_agent")] * count
    owner = words[1].decode(errors="replace")
    node = owner.rpartition("|")[0]
    if words[0] == b"moved":
        return [Enqueued(owner=owner, error="moved")] * count
    return [
        Enqueued(
            owner=owner,
            owner_node=node,
            duplicate=word == b"duplicate",
            error="full" if word == b"full" else "",
        )
        for word in words[2:]
    ]


def _batches(items: Sequence[Enqueue]) -> Iterable[list[Enqueue]]:
    batch: list[Enqueue] = []
    size = 0
    for item in items:
        if batch and (len(batch) >= BATCH or size + len(item.payload) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += len(item.payload)
    if batch:
        yield batch
