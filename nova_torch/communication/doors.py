"""The two connections of a program: to the daemon of this machine, and to the broker while no daemon runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from nova_torch.communication.daemon_box import DaemonBox
from nova_torch.config import Config, load
from nova_torch.errors import BrokerUnavailable, ConfigInvalid, DaemonUnreachable, InvalidRequest
from nova_torch.login import read_login

if TYPE_CHECKING:
    from nova_torch.communication.broker_box import BrokerBox
    from nova_torch.signing import Keyring

    Box = DaemonBox | BrokerBox


class Doors:
    """Opens either when it is asked for. A daemon that comes back is preferred from then on.

    `socket` is the control socket of one daemon: that one or an error. `broker` is the URL of a broker to use when
    no daemon answers; by default the one that the configuration and the environment name, if no `socket` is given.
    """

    def __init__(
        self, *, socket: str | None, broker: str | None, clock_ms: Callable[[], int], gone_s: float
    ) -> None:
        for name, value in (("socket", socket), ("broker", broker)):
            if value is not None and (not isinstance(value, str) or not value):
                raise InvalidRequest(f"{name} must be a text that is not empty.")
        self._socket = socket
        self._broker_url = broker
        self._clock_ms = clock_ms
        self._gone_s = gone_s
        self._daemon: DaemonBox | None = None
        self._broker: BrokerBox | None = None
        self._config: Config | None = None
        self._opening = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Doors {self._daemon!r} {self._broker!r}>"

    async def close(self) -> None:
        """Close what is open."""
        daemon, broker = self._daemon, self._broker
        self._daemon = self._broker = None
        for box in (daemon, broker):
            if box is not None:
                await box.close()

    async def any(self) -> Box:
        """Return the daemon, else the broker. Raises DaemonUnreachable when neither can be reached."""
        try:
            return await self.daemon()
        except DaemonUnreachable as error:
            if self._socket is not None and self._broker_url is None:
                raise
            return await self._instead(error)

    async def daemon(self) -> DaemonBox:
        """Return the daemon. Raises DaemonUnreachable."""
        async with self._opening:
            if self._daemon is None:
                self._daemon = await DaemonBox.connect(self._socket)
            return self._daemon

    @property
    def broker(self) -> BrokerBox | None:
        """The broker, if it was ever gone to."""
        return self._broker

    async def lost(self, box: Box | None) -> None:
        """Give up a daemon's connection that is lost, unless somebody has made a new one meanwhile."""
        if box is not None and box is self._daemon:
            self._daemon = None
            await box.close()

    async def _instead(self, unreachable: DaemonUnreachable) -> BrokerBox:
        async with self._opening:
            if self._broker is not None:
                return self._broker
            config = self._configured()
            url = self._broker_url or _url_of(config)
            if url is None:
                raise DaemonUnreachable(
                    f"{unreachable.message} There is no broker to go to instead: none is configured.",
                    f"{unreachable.hint}; or name a broker: NOVA_BROKER_URL",
                )
            from nova_torch.communication.broker_box import (
                BrokerBox,  # redis: only who has no daemon pays for it
            )

            try:
                self._broker = await BrokerBox.connect(
                    url,
                    prefix=config.broker.prefix,
                    login=read_login(config.broker),
                    mailbox_limit=config.broker.mailbox_limit,
                    clock_ms=self._clock_ms,
                    gone_s=self._gone_s,
                    keyring=_keyring(config),
                    strict=config.signing.mode == "require",
                )
            except BrokerUnavailable as error:
                raise DaemonUnreachable(
                    f"{unreachable.message} Instead of it: {error.message}",
                    f"{unreachable.hint}. Nothing was sent or asked; a message is sent again with its message_id.",
                ) from None
            return self._broker

    def _configured(self) -> Config:
        """Return the configuration: read once, and only by who finds no daemon."""
        if self._config is None:
            self._config = load()
        return self._config


def _keyring(config: Config) -> Keyring:
    """Return the fleet's keys. A program that may not read them sends unsigned, unless that is refused anyway."""
    from nova_torch.secret_files import read_keyring
    from nova_torch.signing import Keyring

    try:
        return read_keyring(config.signing)
    except ConfigInvalid:
        if config.signing.mode == "require":
            raise
        return Keyring()


def _url_of(config: Config) -> str | None:
    """Return the broker's URL; of an embedded one only when it still runs, after a daemon that was killed."""
    if config.broker.url != "embedded":
        return config.broker.url
    socket = os.path.join(config.state.dir, "broker", "broker.sock")
    return f"unix://{socket}" if os.path.exists(socket) else None
