"""Orders to nodes, to drain and to resume: each lies in the registry until a beat says that it is carried out."""

from __future__ import annotations

from nova_torch.broker import scripts
from nova_torch.broker.part import Part
from nova_torch.keys import ORDERS


class Orders(Part):
    """The orders to the nodes of one broker."""

    async def order(self, node: str, order: bytes) -> None:
        """Order `node` to do something; a later order takes the place of one that was not done. Rings its bell."""
        await self._link.command("HSET", self._keys.orders, node, order)
        await self._ring(node)

    async def order_of(self, node: str) -> bytes:
        """Return the order that waits for `node`; empty when none does."""
        return await self._link.command("HGET", self._keys.orders, node) or b""

    async def drains(self) -> str:
        """Return a word that changes with every order to drain."""
        return (await self._link.command("GET", self._keys.drains) or b"0").decode(errors="replace")

    async def order_drain(self, node: str, order: bytes, drains: str | None = None) -> bool:
        """Order `node` to drain, unless another order to drain was given since `drains` was read: False then.

        So of two that are decided on the same sight of the fleet only the first is given. Rings the node's bell.
        """
        words = await self._link.script(
            scripts.ORDER_DRAIN, (self._keys.orders, self._keys.drains), node, order, drains or ""
        )
        if words[0] != scripts.OK:
            return False
        await self._ring(node)
        return True

    async def _ring(self, node: str) -> None:
        await self._link.command("ZADD", self._keys.node(node).bell, 0, ORDERS)
