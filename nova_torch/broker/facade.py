"""The broker as the rest of the project sees it: one object for all of its parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Self

from nova_torch.broker.asks import NodeAsks
from nova_torch.broker.connection import LIMIT_S, Link
from nova_torch.broker.deadletters import DeadLetters
from nova_torch.broker.foreign import Foreign
from nova_torch.broker.mailbox import Mailboxes
from nova_torch.broker.node import Nodes
from nova_torch.broker.orders import Orders
from nova_torch.broker.scaling import Scaling
from nova_torch.broker.schedules import Schedules
from nova_torch.broker.server_info import BrokerInfo, parse_info
from nova_torch.broker.tasks import Tasks
from nova_torch.keys import Keys
from nova_torch.login import NOBODY, Login

_PROBES = {"string": ("GET",), "stream": ("XLEN",), "hash": ("HGET", ""), "zset": ("ZSCORE", "")}
"""What a key of each type answers, and no other one; a node has the right to it, and none to TYPE."""


class Broker(Mailboxes, DeadLetters, Nodes, Orders, NodeAsks, Schedules, Tasks, Scaling, Foreign):
    """One broker under one prefix. Make it with `connect`, end it with `close`.

    Every method raises BrokerUnavailable when the broker does not answer within the limit; all may be called
    again then.
    """

    @classmethod
    async def connect(
        cls, url: str, *, prefix: str = "nova", login: Login = NOBODY, timeout_s: float = LIMIT_S
    ) -> Broker:
        """Connect and see an answer. Raises BrokerUnavailable, ConfigInvalid for a wrong URL or TLS file."""
        keys = Keys(prefix)
        return cls(await Link.open(url, login, timeout_s=timeout_s), keys)

    async def close(self) -> None:
        """End every connection; a blocking call in flight ends with it."""
        await self._link.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    @property
    def url_shown(self) -> str:
        """The URL without secrets."""
        return self._link.shown

    async def ping(self) -> None:
        """See an answer."""
        await self._link.command("PING")

    async def info(self) -> BrokerInfo:
        """Return which server answers, and what of it does not fit."""
        parts = await self._link.batch([("INFO", part) for part in ("server", "memory", "replication")])
        return parse_info("\n".join(part.decode(errors="replace") for part in parts))

    def on_unfit(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever a key turns out to be of another type than it must be (`misfits` says which)."""
        self._link.on_unfit = callback

    async def misfits(self, node: str, agents: Iterable[str]) -> dict[str, str]:
        """Return the keys of `node` and these agents that are of another type, with the one that they must be."""
        wanted = self._keys.typed(node, agents)
        wanted |= {self._keys.generation_of(tag): "string" for tag in self._link.tags}
        fit = await self._link.fit(
            [(*_PROBES[type_][:1], key, *_PROBES[type_][1:]) for key, type_ in wanted.items()]
        )
        return {key: type_ for (key, type_), right in zip(wanted.items(), fit, strict=True) if not right}

    def __repr__(self) -> str:
        return f"<Broker {self._link!r} {self._keys!r}>"
