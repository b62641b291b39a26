"""Find the master among several servers, or by Sentinels, and the shards of a cluster. Keeps no connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from redis import exceptions as redis_errors

from nova_torch.broker.address import Address, Route
from nova_torch.broker.slots import Shards, parse_slots
from nova_torch.errors import BrokerUnavailable

if TYPE_CHECKING:
    from nova_torch.broker.connection import Link

log = logging.getLogger("nova.broker")

ASK_S = 1.5
"""How long one server or Sentinel may take to answer, connection included."""

ROLES = ("master", "replica")

Ask = Callable[..., Awaitable[Any]]
"""Send one command to an address and return its raw reply. Raises BrokerUnavailable."""


async def find_master(route: Route, ask: Ask) -> Address:
    """Return the address of the master. Raises BrokerUnavailable, which says what each one said.

    Of several servers exactly one must say that it is the master: between two nobody can choose for us. Of those of
    a cluster any that answers will do.
    """
    if route.master is not None:
        return await _by_sentinels(route, route.master, ask)
    if len(route.servers) == 1:
        return route.servers[0]
    roles = await asyncio.gather(*(_role(server, ask) for server in route.servers))
    masters = [server for server, role in zip(route.servers, roles, strict=True) if role == "master"]
    if len(masters) == 1:
        return masters[0]
    for server, role in zip(route.servers, roles, strict=True):
        if role in ROLES and await _is_a_shard(server, ask):
            return server  # any tells where the others are
    if masters:
        raise BrokerUnavailable(
            f"{len(masters)} of the brokers are masters: {', '.join(server.shown for server in masters)}.",
            "Make all but one a replica of that one (REPLICAOF): the nodes must meet at the same.",
        )
    said = "; ".join(f"{server.shown}: {role}" for server, role in zip(route.servers, roles, strict=True))
    raise BrokerUnavailable(
        f"none of the brokers is a master now ({said}).", "Promote one: REPLICAOF NO ONE."
    )


async def _is_a_shard(server: Address, ask: Ask) -> bool:
    """Tell whether a server is of a cluster of several shards: one that only keeps a cluster's rules is not."""
    if b"cluster_enabled:1" not in await ask(server, "INFO", "cluster"):
        return False
    return parse_slots(await ask(server, "CLUSTER", "SLOTS"), server) is not None


async def _role(server: Address, ask: Ask) -> str:
    """Return master, replica, or why that is not known."""
    try:
        told = (await ask(server, "INFO", "replication")).decode(errors="replace")
    except BrokerUnavailable as error:
        return error.message.rstrip(".")
    return "master" if "role:master" in told else "replica"


async def _by_sentinels(route: Route, master: Address, ask: Ask) -> Address:
    said: list[str] = []
    for sentinel in route.servers:
        try:
            place = await ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", route.service)
        except BrokerUnavailable as error:
            said.append(error.message.rstrip("."))
            continue
        if place:
            return replace(master, host=place[0].decode(), port=int(place[1]))
        said.append(f"{sentinel.shown} knows no {route.service}")
    raise BrokerUnavailable(
        f"no Sentinel says where {route.service} is ({'; '.join(said)}).",
        "Correct broker.url, or start them.",
    )


async def find_shards(link: Link) -> Shards | None:
    """See an answer, and ask which server has what; None when it is the only one."""
    _, told = await link.batch([("PING",), ("INFO", "cluster")])
    if b"cluster_enabled:1" not in told:
        return None
    (reply,) = await link.tried([("CLUSTER", "SLOTS")])
    if isinstance(reply, redis_errors.NoPermissionError):
        log.warning("broker.shards_unknown", extra={"problem": str(reply)})  # if there are more, it says so
        return None
    link.refused(reply)
    return parse_slots(reply, link.address)
