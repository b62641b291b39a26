"""Nodes: epochs, leases by the server's clock, the blob of each node, and its own mail."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from nova_torch.broker import scripts
from nova_torch.broker.connection import MAX_BLOCK_S, Link
from nova_torch.broker.part import Part, check
from nova_torch.broker.server_info import replid
from nova_torch.broker.wires import Command
from nova_torch.errors import Conflict
from nova_torch.keys import Keys, is_name

FORGET_MS = 24 * 3600 * 1000
"""How long a silent node stays in `nodes`."""
MAIL_KEPT = 65_536
"""Unread mail of one node; what is trimmed was a receipt, and is asked for again by a resend."""
MAIL_KEEP_S = 7 * 24 * 3600
MAIL_PAGE = 256
FOREVER_MS = 2**53
LOG_KEPT = 1000
"""Changes that who watches the fleet may be behind; then the whole is read."""
AGAIN_S = 5.0
"""What was read so long ago is read again with the next look, whether its node told something new or not …"""
AGAIN_LEAST, AGAIN_PART = 20, 20
"""… of so many nodes, and in a large fleet of one in so many: those that were read the longest ago."""

News = Literal["same", "again", "new"]
"""What a beat has: nothing that changed, the whole once more, or something new that who watches is told of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLease:
    """A node as it last beat. `alive` and `expires_ms` are by the server's clock."""

    node: str
    expires_ms: int
    alive: bool
    blob: bytes
    silent_ms: int = 0
    """For how long the lease has been over."""
    order: bytes = b""
    """What the node is ordered to do and has not done yet."""

    def __repr__(self) -> str:
        return f"<NodeLease {self.node} {'alive' if self.alive else 'lost'} {len(self.blob)} bytes>"


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatReply:
    """What a node hears when it beats."""

    now_ms: int
    living: int
    """How many nodes live, itself included."""
    kept: bool
    """Whether the broker has the node's blob; False: say the whole."""
    order: bytes
    demanding: int = 0
    """How many living nodes take only what is signed."""
    generation: str = ""
    """What `generation` gave just before the beat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One piece of a node's own mail."""

    entry_id: str
    payload: bytes


class Nodes(Part):
    """The nodes of one broker."""

    def __init__(self, link: Link, keys: Keys) -> None:
        super().__init__(link, keys)
        self._blobs: dict[str, bytes | None] = {}
        """What each node told last, as far as it was read."""
        self._leases: dict[str, NodeLease] = {}
        """Each node at the last look: most of them have not beaten since."""
        self._log_at = ""
        """The last entry of the log that was seen."""
        self._read_at: dict[str, float] = {}
        """When each of them was read, by the machine's clock."""

    async def claim_epoch(self, node: str, bearer: str = "") -> int:
        """Begin a new epoch of `node`, later than all before: the server's time in ms, or one more.

        Raises NotOwner while another daemon than `bearer` has the node's lease.
        """
        words = await self._link.script(
            scripts.CLAIM_EPOCH, (self._keys.epochs, self._keys.nodes), node, bearer
        )
        check(words, f"node {node}")
        epoch = int(words[1])
        check(
            await self._link.script(scripts.FENCE_MAIL, (self._keys.node(node).epoch,), epoch), f"node {node}"
        )
        return epoch

    async def beat(
        self,
        node: str,
        epoch: int,
        blob: bytes,
        *,
        ttl_s: float,
        news: News = "new",
        done: bytes = b"",
        strict: bool = False,
    ) -> BeatReply:
        """Renew the lease for `ttl_s` and, unless `news` is `same`, publish `blob`.

        `done`: the order that the node has carried out, if any; one that was given meanwhile stays. `strict`: it
        takes only what is signed. Raises NotOwner when a later epoch of the node exists. Puts back what a wiped
        broker has lost, which the `generation` tells.
        """
        keys = self._keys.registry(node)
        told, words = await self._link.script_after(
            self._ask_generation(),
            scripts.BEAT,
            (keys.nodes, keys.epochs, keys.blob, keys.orders, keys.log, keys.strict),
            node, epoch, b"" if news == "same" else blob, round(ttl_s * 1000), FORGET_MS, news, LOG_KEPT,
            done, int(strict),
        )  # fmt: skip
        check(words, f"node {node}")
        return BeatReply(
            now_ms=int(words[1]),
            living=int(words[2]),
            kept=words[3] == b"1",
            order=words[4],
            demanding=int(words[5]),
            generation=await self._generation(told),
        )

    async def generation(self) -> str:
        """Return a word that changes when the broker has lost its data or was replaced.

        It changes too when a server was merely restarted, or other servers have the shards: sending again is
        harmless then.
        """
        words: list[Command] = [("SET", key, secrets.token_hex(8), "NX") for key in self._words]
        told = await self._link.batch([*words, *self._ask_generation()])
        return await self._generation(told[len(words) :])

    @property
    def _words(self) -> list[str]:
        """The keys of the random words, one for each shard."""
        return [self._keys.generation, *map(self._keys.generation_of, self._link.tags)]

    def _ask_generation(self) -> list[Command]:
        return [*(("GET", key) for key in self._words), ("INFO", "replication")]

    async def _generation(self, replies: Sequence[Any]) -> str:
        # no word: the data was lost, and this is like no other generation
        words = [(word or secrets.token_hex(8).encode()).decode() for word in replies[:-1]]
        told = await self._link.everywhere("INFO", "replication") if self._link.tags else replies[-1:]
        return ":".join((*map(replid, told), *words))

    async def leave(self, node: str, epoch: int, blob: bytes = b"") -> None:
        """End the lease in order; `blob` is the last word. Mailboxes stay as they are. Raises NotOwner."""
        keys = self._keys.registry(node)
        words = await self._link.script(
            scripts.LEAVE,
            (keys.nodes, keys.epochs, keys.blob, keys.log),
            node, epoch, blob, LOG_KEPT, FORGET_MS,
        )  # fmt: skip
        check(words, f"node {node}")

    async def nodes(self) -> list[NodeLease]:
        """Return every node that beat, or left, within a day, by name.

        One round trip, two when a node is new or said something new: of the others what was read before still
        holds, and with every call some are read again, since not everything that changes is news.
        """
        now = time.monotonic()
        again = self._long_ago(now)
        since = f"({self._log_at}" if self._log_at else "-"
        (seconds, micros), flat, ordered, told, *got = await self._link.tried(
            [
                ("TIME",),
                ("ZRANGE", self._keys.nodes, 0, -1, "WITHSCORES"),
                ("HGETALL", self._keys.orders),
                ("XRANGE", self._keys.log, since, "+", "COUNT", LOG_KEPT),
                *([("MGET", *(self._keys.registry(name).blob for name in again))] if again else ()),
            ]
        )
        self._link.refused(flat, ordered, *got)
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        ends = {
            name: int(min(end, FOREVER_MS))
            for raw, score in zip(flat[::2], flat[1::2], strict=True)
            if (name := _name(raw)) and (end := float(score)) > 0
        }
        self._blobs |= dict(zip(again, got[0], strict=True)) if again else {}
        news, log_at = self._news(told)
        read = sorted(news & ends.keys() | ends.keys() - self._blobs.keys())
        if read:
            found = await self._link.command("MGET", *(self._keys.registry(name).blob for name in read))
            self._blobs |= dict(zip(read, found, strict=True))
        self._log_at = log_at  # not before: what could not be read is news still
        self._blobs = {name: self._blobs.get(name) for name in ends}
        just = {*again, *read}
        self._read_at = {name: now if name in just else self._read_at.get(name, now) for name in ends}
        orders = {_text(name): order for name, order in zip(ordered[::2], ordered[1::2], strict=True)}
        before, self._leases = self._leases, {}
        for name, end in sorted(ends.items()):
            alive, blob, order = end > now_ms, self._blobs[name] or b"", orders.get(name, b"")
            same, known = (end, alive, blob, order), before.get(name)
            if known is None or (known.expires_ms, known.alive, known.blob, known.order) != same or not alive:
                known = NodeLease(
                    node=name,
                    expires_ms=end,
                    alive=alive,
                    blob=blob,
                    silent_ms=max(0, now_ms - end),
                    order=order,
                )
            self._leases[name] = known
        return [*self._leases.values()]

    def _long_ago(self, now: float) -> list[str]:
        """Return the nodes that are read again: some of those that were read the longest ago."""
        due = sorted((at, name) for name, at in self._read_at.items() if now - at >= AGAIN_S)
        return [name for _, name in due[: max(AGAIN_LEAST, len(self._read_at) // AGAIN_PART)]]

    def _news(self, told: Any) -> tuple[set[str], str]:
        """Return the nodes that an answer of the log names, or all that are known when it cannot tell.

        And the last entry of the log, up to which that is so.
        """
        everybody = set(self._blobs)
        if isinstance(told, Exception):  # no stream, or no right to it
            return everybody, ""
        if not told:
            return set() if self._log_at else everybody, self._log_at
        complete = bool(self._log_at) and len(told) < LOG_KEPT
        named = {_text(fields[1]) for _, fields in told} if complete else everybody
        return named, told[-1][0].decode()

    async def alive(self, node: str) -> bool:
        """Tell whether the lease of `node` holds: short, where `nodes` is the whole registry."""
        (seconds, micros), end = await self._link.batch([("TIME",), ("ZSCORE", self._keys.nodes, node)])
        return end is not None and float(end) > int(seconds) * 1000 + int(micros) // 1000

    async def changed(self, after: str, *, block_s: float) -> tuple[str, set[str]]:
        """Wait at most `block_s` for nodes that tell something new; return where to wait on, and their names.

        `after` is `$` at first: from now on. A name that is missing told nothing new; its lease may be over.
        """
        block_ms = round(min(max(block_s, 0.001), MAX_BLOCK_S) * 1000)
        reply = await self._link.blocking(
            f"log.{after}", "XREAD", "COUNT", LOG_KEPT, "BLOCK", block_ms, "STREAMS", self._keys.log, after
        )
        if not reply:
            return after, set()
        entries = reply[0][1]
        return entries[-1][0].decode(), {_text(fields[1]) for _, fields in entries}

    async def last_change(self) -> str:
        """Return the place of the last change: wait behind it."""
        entries = await self._link.command("XREVRANGE", self._keys.log, "+", "-", "COUNT", 1)
        return entries[0][0].decode() if entries else "0-0"

    async def forget_node(self, node: str) -> bool:
        """Forget a node that is gone; False when nobody knew it. Raises Conflict while its lease holds."""
        keys = self._keys.registry(node)
        words = await self._link.script(
            scripts.FORGET_NODE, (keys.nodes, keys.blob, keys.orders, keys.log), node, LOG_KEPT
        )
        if words[0] == b"alive":
            raise Conflict(f"node {node} lives.", f"First: novactl node drain {node}, then end it there.")
        return words[1] == b"known"

    async def post(self, node: str, payloads: Sequence[bytes], *, keep_s: int = MAIL_KEEP_S) -> None:
        """Put `payloads` into the mail of `node`, in order. Sent again after an error, they come twice.

        The mail of who reads none of it ends by itself `keep_s` after the last.
        """
        if not payloads:
            return
        await self._link.script_along(
            scripts.POST, (self._keys.node(node).mail,), MAIL_KEPT, keep_s, *payloads
        )

    async def leave_place(self, node: str) -> None:
        """Delete the mail and the bell of a place that is no node's and that nobody reads any more."""
        keys = self._keys.node(node)
        await self._link.command("DEL", keys.mail, keys.bell)

    async def mail(
        self, node: str, *, block_s: float, after: str = "0-0", done: tuple[int, Sequence[str]] | None = None
    ) -> list[Mail]:
        """Return the oldest mail of `node` that is not done, at most 256; [] when none comes in `block_s`.

        Reads from the beginning each time, so nothing is skipped after an error, a restart or a wiped broker; say
        what is `done`, as epoch and entries, or call `mail_done` before the next read, or give the entry `after`
        which to read. `block_s` is at most 5. Raises NotOwner as `mail_done` does.
        """
        block_ms = round(min(max(block_s, 0.001), MAX_BLOCK_S) * 1000)
        said, reply = await self._link.blocking_after(
            None if done is None else self._link.by_sha(scripts.MAIL_DONE, *self._done(node, *done)),
            f"mail.{node}.{after}",
            "XREAD",
            "COUNT",
            MAIL_PAGE,
            "BLOCK",
            block_ms,
            "STREAMS",
            self._keys.node(node).mail,
            after,
            takes=False,
        )
        if isinstance(said, Exception):  # the server has to learn the script, and its refusals are told there
            assert done is not None
            await self.mail_done(node, *done)
            return []
        if said is not None:
            check(said, f"node {node}")
        if not reply:
            return []
        return [Mail(entry_id=entry_id.decode(), payload=fields[1]) for entry_id, fields in reply[0][1]]

    async def mail_done(self, node: str, epoch: int, entry_ids: Sequence[str]) -> None:
        """Delete mail that was handled. Raises NotOwner when a later epoch of the node reads it."""
        if not entry_ids:
            return
        words = await self._link.script(scripts.MAIL_DONE, *self._done(node, epoch, entry_ids))
        check(words, f"node {node}")

    def _done(self, node: str, epoch: int, entry_ids: Sequence[str]) -> tuple[Any, ...]:
        """Return keys and words of the script that deletes mail."""
        keys = self._keys.node(node)
        return (keys.epoch, keys.mail), epoch, *entry_ids


@lru_cache(maxsize=4096)
def _name(raw: bytes) -> str:
    """Return the name of a node; empty when it can be none's."""
    name = _text(raw)
    return name if is_name(name) else ""


def _text(raw: bytes) -> str:
    """Return a name that anybody may have written."""
    return raw.decode(errors="replace")
