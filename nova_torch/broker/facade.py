"""The broker as the rest of the project sees it: one object for all of its parts."""

from __future__ import annotations

import secrets
from typing import Self

from nova_torch.broker.connection import LIMIT_S, Link
from nova_torch.broker.deadletters import DeadLetters
from nova_torch.broker.foreign import Foreign
from nova_torch.broker.mailbox import Mailboxes
from nova_torch.broker.node import Nodes
from nova_torch.broker.schedules import Schedules
from nova_torch.broker.server_info import BrokerInfo, parse_info
from nova_torch.keys import Keys


class Broker(Mailboxes, DeadLetters, Nodes, Schedules, Foreign):
    """One broker under one prefix. Make it with `connect`, end it with `close`.

    Every method raises BrokerUnavailable when the broker does not answer within the limit; all may be called
    again then.
    """

    @classmethod
    async def connect(
        cls, url: str, *, prefix: str = "nova", password: str | None = None, timeout_s: float = LIMIT_S
    ) -> Broker:
        """Connect and see an answer. Raises BrokerUnavailable, ConfigInvalid for a wrong URL."""
        keys = Keys(prefix)
        return cls(await Link.open(url, password=password, timeout_s=timeout_s), keys)

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

    async def generation(self) -> str:
        """Return a word that changes when the broker has lost its data or was replaced.

        It changes too when the server was merely restarted: sending again is harmless then.
        """
        key = self._keys.generation
        _, word, replication = await self._link.batch(
            [("SET", key, secrets.token_hex(8), "NX"), ("GET", key), ("INFO", "replication")]
        )
        return f"{parse_info(replication.decode(errors='replace')).replid}:{word.decode()}"

    def __repr__(self) -> str:
        return f"<Broker {self._link!r} {self._keys!r}>"
