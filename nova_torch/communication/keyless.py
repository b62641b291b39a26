"""What a program without the fleet's keys may not send, and what it means to one that its message was not taken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from nova_torch.fleet import NodeView
from nova_torch.rejections import REQUIRE, meant, refusal
from nova_torch.signing import Keyring
from nova_torch.values import AgentId, Hop, Receipt

FRESH_S = 5.0
"""How old the word of a node may be on whether it takes what is not signed."""


class Keyless:
    """Knows which agents only those with a key reach."""

    def __init__(
        self, keyring: Keyring, views: Callable[[], Awaitable[list[NodeView]]], clock: Callable[[], float]
    ) -> None:
        self._keyring = keyring
        self._views = views
        self._clock = clock
        self._strict: dict[AgentId, str] = {}
        self._until = float("-inf")

    async def demand(self, agent: AgentId) -> None:
        """Raise NotAllowed when the node of `agent` takes only what is signed, and there is no key here."""
        if self._keyring:
            return
        if self._clock() >= self._until:
            strict = [v for v in await self._views() if v.alive and v.card.signing == REQUIRE]
            self._strict = {record.agent_id: view.node for view in strict for record in view.agents}
            self._until = self._clock() + FRESH_S
        if agent in self._strict:
            raise refusal(self._strict[agent])

    def heard(self, hop: Hop, receipt: Receipt | None, payload: bytes | None) -> Hop | None:
        """Return what a receipt means: itself, or of a rejection what it means to what was posted as `payload`.

        Who has no key takes every receipt's word anyway, and so that of a message which another process posted.
        """
        if not hop.of:
            return hop
        if receipt is None or payload is None:
            return None if self._keyring else replace(hop, of="")
        owners = [receipt.node or ""]
        return meant(hop, receipt.state, payload, signs=bool(self._keyring), owners=owners, here="")


def demand_key(view: NodeView, keyring: Keyring) -> NodeView:
    """Return a node that can be asked. Raises NotAllowed when it takes only what is signed, and there is no key."""
    if not keyring and view.card.signing == REQUIRE:
        raise refusal(view.node)
    return view
