"""Find the master among several servers, or by Sentinels, and the shards of a cluster. Keeps no connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
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

Role = str | BrokerUnavailable
"""One of ROLES, or why it is not known."""

Ask = Callable[..., Awaitable[Any]]
"""Send one command to an address and return its raw reply. Raises BrokerUnavailable."""


async def find_master(route: Route, ask: Ask) -> Address:
    """Return the address of the master. Raises BrokerUnavailable, which says what each one said, and what helps.

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
    said = "; ".join(
        f"{server.shown}: {_told(role)}" for server, role in zip(route.servers, roles, strict=True)
    )
    raise BrokerUnavailable(f"none of the brokers says that it is the master ({said}).", _cure(roles))


async def _is_a_shard(server: Address, ask: Ask) -> bool:
    """Tell whether a server is of a cluster of several shards: one that only keeps a cluster's rules is not."""
    if b"cluster_enabled:1" not in await ask(server, "INFO", "cluster"):
        return False
    return parse_slots(await ask(server, "CLUSTER", "SLOTS"), server) is not None


async def _role(server: Address, ask: Ask) -> Role:
    """Return master, replica, or why that is not known."""
    try:
        told = (await ask(server, "INFO", "replication")).decode(errors="replace")
    except BrokerUnavailable as error:
        return error
    return "master" if "role:master" in told else "replica"


def _told(role: Role) -> str:
    return role if isinstance(role, str) else role.message.rstrip(".")


def _cure(roles: Sequence[Role]) -> str:
    """Return what helps when no server says that it is the master.

    One that did not tell may be the master all the same: then nobody is told to make another one.
    """
    silent = [role for role in roles if isinstance(role, BrokerUnavailable)]
    if not silent:
        return "Promote one: REPLICAOF NO ONE."
    lost = ["If the master is lost, promote a replica: REPLICAOF NO ONE."] if len(silent) < len(roles) else []
    return _together([*(error.hint for error in silent), *lost])


def _together(hints: Iterable[str]) -> str:
    """Return several cures as one text, each once."""
    return " ".join(filter(None, dict.fromkeys(hints)))


async def _by_sentinels(route: Route, master: Address, ask: Ask) -> Address:
    """Return the address of what a Sentinel calls the master, and that says so itself.

    A Sentinel that is cut off from the others goes on with what it knew: then the next one is asked.
    """
    roles: dict[Address, Role] = {}
    said, hints = [], []
    for sentinel in route.servers:
        try:
            place = await ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", route.service)
        except BrokerUnavailable as error:
            what, cure = _no_sentinel(sentinel, error)
            said.append(what)
            hints.append(cure)
            continue
        if not place:
            said.append(f"{sentinel.shown} knows no {route.service}")
            hints.append("Correct the name of the service in broker.url.")
            continue
        told = replace(master, host=place[0].decode(), port=int(place[1]))
        if told not in roles:
            roles[told] = await _role(told, ask)
        if roles[told] == "master":
            return told
        said.append(f"{sentinel.shown} names {told.shown}: {_told(roles[told])}")
        hints.append("Wait until they have chosen, or see to the Sentinels.")
    if len(roles) == 1:
        (role,) = roles.values()
        if isinstance(role, BrokerUnavailable):
            raise role  # all that the Sentinels can tell: it is the broker that does not do
    raise BrokerUnavailable(
        f"no Sentinel says where {route.service} is ({'; '.join(said)}).", _together(hints)
    )


def _no_sentinel(sentinel: Address, error: BrokerUnavailable) -> tuple[str, str]:
    """Return why a Sentinel tells nothing, and what helps. It is asked as nobody."""
    if "unknown command" in error.message:
        return (
            f"{sentinel.shown} is no Sentinel",
            "Correct broker.url: a Sentinel has a port of its own (26379).",
        )
    if "wants a password" in error.message:
        return f"{sentinel.shown} wants a password", "Sentinels are asked without one: let them want none."
    return error.message.rstrip("."), error.hint


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
