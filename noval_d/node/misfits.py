"""Keep account of keys of the broker that are ours by name and of another type: another program wrote them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from nova_torch.broker import Broker
from nova_torch.errors import BrokerUnavailable, KeyUnfit
from nova_torch.values import AgentId, NodeId

log = logging.getLogger("nova.broker")


class Misfits:
    """The keys that are in the way. `found` has for each the type that it must be."""

    def __init__(self, node: NodeId, agents: Callable[[], Iterable[AgentId]]) -> None:
        self._node = node
        self._agents = agents
        self._suspects: set[AgentId] = set()
        self._failed = False
        self.found: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Misfits {self.found}>"

    @property
    def due(self) -> bool:
        """Whether it is worth looking: something failed, or was not right at the last look."""
        return self._failed or bool(self.found)

    def suspect(self, agents: Iterable[AgentId] = ()) -> None:
        """Look soon, also at the mailboxes of these agents: something failed for a key's type."""
        self._suspects.update(agents)
        self._failed = True

    async def look(self, broker: Broker) -> bool:
        """See which keys are of another type; True when one is right again. Raises BrokerUnavailable."""
        found = await broker.misfits(self._node, {*self._agents(), *self._suspects})
        for key in found.keys() - self.found.keys():
            log.warning("broker.key_unfit", extra={"key": key, "must_be": found[key]})
        right = self.found.keys() - found.keys()
        for key in right:
            log.info("broker.key_fits_again", extra={"key": key})
        self.found, self._failed = found, False
        if not found:
            self._suspects.clear()
        return bool(right)

    async def explained(self, broker: Broker, error: BrokerUnavailable) -> BrokerUnavailable:
        """Return an error that keeps the node from its broker, with the key when it is one's type."""
        if not isinstance(error, KeyUnfit):
            return error
        try:
            await self.look(broker)
        except BrokerUnavailable:
            return error
        first = next(iter(self.found), None)
        if first is None:
            return error
        return BrokerUnavailable(said(first, self.found[first]), cure(first))


def said(key: str, must: str) -> str:
    """Return the sentence about one key."""
    return f"the broker's key {key} is no {must}, as it must be: another program wrote it."


def cure(key: str) -> str:
    """Return what helps. That nobody needs what is in the key is for a person to say."""
    return f"If nobody needs what is in it: redis-cli DEL '{key}'. What waits goes on by itself then."
