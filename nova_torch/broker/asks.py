"""What nodes ask of each other: it lies at the node that is asked until it is over, and so does the answer."""

from __future__ import annotations

from nova_torch.broker.mailbox import KEEP_S
from nova_torch.broker.part import Part
from nova_torch.keys import ASKS

ANSWER_KEEP_S = 3600


class NodeAsks(Part):
    """What is asked of the nodes of one broker. All of it may be said twice."""

    async def ask(self, node: str, ask_id: str, raw: bytes) -> None:
        """Ask `node` for something; the same id is the same thing. Rings its bell."""
        keys = self._keys.node(node)
        await self._link.batch(
            [
                ("HSET", keys.asks, ask_id, raw),
                ("EXPIRE", keys.asks, ANSWER_KEEP_S),
                ("ZADD", keys.bell, 0, ASKS),
                ("EXPIRE", keys.bell, KEEP_S),
            ]
        )

    async def asks(self, node: str) -> dict[str, bytes]:
        """Return what is asked of `node` and not over, by id."""
        flat = await self._link.command("HGETALL", self._keys.node(node).asks)
        return {name.decode(errors="replace"): raw for name, raw in zip(flat[::2], flat[1::2], strict=True)}

    async def answer(self, node: str, ask_id: str, raw: bytes, asker: str) -> None:
        """Say how far `node` is with it, in place of what it said before. Rings the bell of `asker`."""
        keys, bell = self._keys.node(node), self._keys.node(asker).bell
        await self._link.batch(
            [
                ("HSET", keys.said, ask_id, raw),
                ("EXPIRE", keys.said, ANSWER_KEEP_S),
                ("ZADD", bell, 0, ASKS),
                ("EXPIRE", bell, KEEP_S),
            ]
        )

    async def answer_of(self, node: str, ask_id: str) -> bytes:
        """Return what `node` says of it; empty when nothing (yet)."""
        return await self._link.command("HGET", self._keys.node(node).said, ask_id) or b""

    async def ask_over(self, node: str, ask_id: str, *, answered: bool) -> None:
        """Forget that it was asked; with `answered` the answer too, which the asker has."""
        keys = self._keys.node(node)
        await self._link.command("HDEL", keys.asks, ask_id)
        if answered:
            await self._link.command("HDEL", keys.said, ask_id)
