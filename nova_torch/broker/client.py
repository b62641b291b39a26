"""Make connections and clients of redis-py with every default said: RESP2, no retries, limits, raw replies."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import partial
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import (
    BlockingConnectionPool,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from nova_torch.broker.address import Address


class _TlsConnection(SSLConnection):
    """A connection with a context that was made once, and has the authorities that were named and no others."""

    def __init__(self, *, tls: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context.context = tls


def connection(address: Address, tls: ssl.SSLContext | None, connect_s: float) -> Callable[[], Any]:
    """Return what makes a connection (untyped: the library's types change). Who uses it limits how long."""
    kind, options = _options(address, tls, connect_s)
    return partial(kind, socket_timeout=None, **options)


def client(address: Address, tls: ssl.SSLContext | None, limit_s: float) -> Any:
    """Return a client for one connection whose every limit is said."""
    kind, options = _options(address, tls, limit_s)
    pool = BlockingConnectionPool(
        max_connections=1, timeout=limit_s, connection_class=kind, socket_timeout=limit_s, **options
    )
    client = Redis.from_pool(pool)
    client.response_callbacks.clear()
    return client


def _options(address: Address, tls: ssl.SSLContext | None, connect_s: float) -> tuple[type, dict[str, Any]]:
    kinds: dict[str, type] = {
        "unix": UnixDomainSocketConnection,
        "redis": Connection,
        "rediss": _TlsConnection,
    }
    place: dict[str, Any] = {"path": address.path}
    if address.scheme != "unix":
        place = {"host": address.host, "port": address.port, "socket_keepalive": True}
    if tls is not None:
        place["tls"] = tls
    return kinds[address.scheme], {
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "health_check_interval": 0,
        "socket_connect_timeout": connect_s,
        "driver_info": None,  # one round trip less at connect; nothing reads it
        "db": address.db,
        "username": address.username,
        "password": address.login.password,
        **place,
    }
