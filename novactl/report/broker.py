"""Ask the broker of a place which server it is, past the daemon: a dead one cannot tell. Loads redis."""

from __future__ import annotations

import asyncio
from typing import Any

from nova_torch.broker import embedded
from nova_torch.broker.connection import Link
from nova_torch.broker.server_info import parse_info
from nova_torch.errors import BrokerUnavailable, NovaError
from nova_torch.login import read_login
from novactl.report.place import Place

ASK_S = 3.0


def server(place: Place) -> dict[str, Any]:
    """Return URL, kind and version of the server that answers. Raises NovaError with the reason when none does."""
    if place.config is None:
        raise place.problem or NovaError("the configuration cannot be read.")
    broker = place.config.broker
    url, login = broker.url, read_login(broker, place.environment)
    if url == "embedded":
        socket = place.state / "broker" / embedded.SOCKET_NAME
        if not socket.exists():
            raise BrokerUnavailable("the embedded broker does not run.")
        url = f"unix://{socket}"

    async def asked() -> dict[str, Any]:
        link = await Link.open(url, login, timeout_s=ASK_S)
        try:
            info = parse_info(bytes(await link.command("INFO")).decode("utf-8", "replace"))
        finally:
            await link.close()
        return {
            "url": link.shown,
            "kind": info.kind,
            "version": info.version,
            "warnings": info.warnings,
            "unusable": info.unusable,
        }

    return asyncio.run(asked())
