"""Nodes: epochs, leases by the server's clock, the blob of each node, and its own mail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nova_torch.broker import scripts
from nova_torch.broker.connection import MAX_BLOCK_S
from nova_torch.broker.part import Part, check

FORGET_MS = 24 * 3600 * 1000
"""How long a silent node stays in `nodes`."""
MAIL_KEPT = 65_536
"""Unread mail of one node; what is trimmed was a receipt, and is asked for again by a resend."""
MAIL_KEEP_S = 7 * 24 * 3600
MAIL_PAGE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLease:
    """A node as it last beat. `alive` and `expires_ms` are by the server's clock."""

    node: str
    expires_ms: int
    alive: bool
    blob: bytes

    def __repr__(self) -> str:
        return f"<NodeLease {self.node} {'alive' if self.alive else 'lost'} {len(self.blob)} bytes>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One piece of a node's own mail."""

    entry_id: str
    payload: bytes


class Nodes(Part):
    """The nodes of one broker."""

    async def claim_epoch(self, node: str) -> int:
        """Begin a new epoch of `node`, later than all before: the server's time in ms, or one more."""
        words = await self._link.script(scripts.CLAIM_EPOCH, (self._keys.epochs,), node)
        epoch = int(words[1])
        check(
            await self._link.script(scripts.FENCE_MAIL, (self._keys.node(node).epoch,), epoch), f"node {node}"
        )
        return epoch

    async def beat(self, node: str, epoch: int, blob: bytes, *, ttl_s: float) -> int:
        """Renew the lease for `ttl_s` and publish `blob`; return the server's time in ms.

        Raises NotOwner when a later epoch of the node exists. Puts back what a wiped broker has lost.
        """
        keys = self._keys.registry(node)
        words = await self._link.script(
            scripts.BEAT,
            (keys.nodes, keys.epochs, keys.blob),
            node, epoch, blob, round(ttl_s * 1000), FORGET_MS,
        )  # fmt: skip
        check(words, f"node {node}")
        return int(words[1])

    async def leave(self, node: str, epoch: int) -> None:
        """End the lease in order. Mailboxes stay as they are. Raises NotOwner."""
        keys = self._keys.registry(node)
        words = await self._link.script(scripts.LEAVE, (keys.nodes, keys.epochs, keys.blob), node, epoch)
        check(words, f"node {node}")

    async def nodes(self) -> list[NodeLease]:
        """Return every node that beat within a day, by name."""
        (seconds, micros), flat = await self._link.batch(
            [("TIME",), ("ZRANGE", self._keys.nodes, 0, -1, "WITHSCORES")]
        )
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        leases = sorted(
            (name.decode(), int(float(end))) for name, end in zip(flat[::2], flat[1::2], strict=True)
        )
        if not leases:
            return []
        blobs = await self._link.command("MGET", *(self._keys.registry(name).blob for name, _ in leases))
        return [
            NodeLease(node=name, expires_ms=end, alive=end > now_ms, blob=blob or b"")
            for (name, end), blob in zip(leases, blobs, strict=True)
        ]

    async def post(self, node: str, payloads: Sequence[bytes]) -> None:
        """Put `payloads` into the mail of `node`, in order. Sent again after an error, they come twice."""
        if not payloads:
            return
        mail = self._keys.node(node).mail
        posted = [("XADD", mail, "MAXLEN", "~", MAIL_KEPT, "*", "p", payload) for payload in payloads]
        await self._link.batch([*posted, ("EXPIRE", mail, MAIL_KEEP_S)])

    async def mail(self, node: str, *, block_s: float, after: str = "0-0") -> list[Mail]:
        """Return the oldest mail of `node` that is not done, at most 256; [] when none comes in `block_s`.

        Reads from the beginning each time, so nothing is skipped after an error, a restart or a wiped broker;
        call `mail_done` before the next read, or give the entry `after` which to read. `block_s` is at most 5.
        """
        block_ms = round(min(max(block_s, 0.001), MAX_BLOCK_S) * 1000)
        reply = await self._link.blocking(
            f"mail.{node}.{after}",
            "XREAD",
            "COUNT",
            MAIL_PAGE,
            "BLOCK",
            block_ms,
            "STREAMS",
            self._keys.node(node).mail,
            after,
        )
        if not reply:
            return []
        return [Mail(entry_id=entry_id.decode(), payload=fields[1]) for entry_id, fields in reply[0][1]]

    async def mail_done(self, node: str, epoch: int, entry_ids: Sequence[str]) -> None:
        """Delete mail that was handled. Raises NotOwner when a later epoch of the node reads it."""
        if not entry_ids:
            return
        keys = self._keys.node(node)
        words = await self._link.script(scripts.MAIL_DONE, (keys.epoch, keys.mail), epoch, *entry_ids)
        check(words, f"node {node}")
