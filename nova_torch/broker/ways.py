"""The connections to each server of a broker, which command goes where, and slots of a cluster that move."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any

from redis import exceptions as redis_errors

from nova_torch.broker.address import Address
from nova_torch.broker.client import connection
from nova_torch.broker.following import ELSEWHERE, PAUSES_S, again, for_good
from nova_torch.broker.slots import Shards, place_told
from nova_torch.broker.wires import Command, Wires

POOL_SIZE = 16
BLOCKING_POOL_SIZE = 8


class Ways:
    """The servers that are known, in the order of `places`: one, or the shards of a cluster."""

    def __init__(
        self, address: Address, shards: Shards | None, tls: ssl.SSLContext | None, connect_s: float
    ) -> None:
        self.shards = shards
        self.places: list[Address] = []
        self.commands: list[Wires] = []
        self.blocking: list[Wires] = []
        self._tls, self._connect_s = tls, connect_s
        for one in shards.addresses if shards is not None else (address,):
            self._reach(one)

    def __repr__(self) -> str:
        return f"<Ways {', '.join(place.shown for place in self.places)}>"

    def _reach(self, address: Address) -> None:
        """Make ready to connect to one more server."""
        way = connection(address, self._tls, self._connect_s)
        self.places.append(address)
        self.commands.append(Wires(way, POOL_SIZE))
        self.blocking.append(Wires(way, BLOCKING_POOL_SIZE))

    def placed(self, commands: Sequence[Command]) -> list[int]:
        """Return at which place each command is sent."""
        return self.shards.all_of(commands) if self.shards is not None else [0] * len(commands)

    async def exchange(self, commands: Sequence[Command], at: int) -> list[Any]:
        """Send `commands` to the server at a place, in one write; return the replies, from wherever they come."""
        return await self._followed(commands, await self.commands[at].exchange(commands), at, self.commands)

    async def exchange_blocking(self, commands: Sequence[Command], at: int, limit_s: float) -> list[Any]:
        """Do so on the connections for blocking commands; each exchange has a limit of its own."""
        replies = await self.blocking[at].exchange(commands, limit_s)
        return await self._followed(commands, replies, at, self.blocking, limit_s)

    def give_up(self) -> None:
        """End whatever waits for a connection, or for replies, now."""
        for wires in (*self.commands, *self.blocking):
            wires.give_up()

    async def quiet(self) -> None:
        """Wait until no connection is in use."""
        for wires in (*self.commands, *self.blocking):
            await wires.quiet()

    def close(self) -> None:
        """End every connection."""
        for wires in (*self.commands, *self.blocking):
            wires.close()

    async def _followed(
        self,
        commands: Sequence[Command],
        replies: list[Any],
        at: int,
        wires: list[Wires],
        limit_s: float | None = None,
    ) -> list[Any]:
        """Return `replies`, each from where the slot of its command is by now; one after the other, in order."""
        if self.shards is None:
            return replies
        for n, command in enumerate(commands):
            place = at
            for pause_s in PAUSES_S:
                if not isinstance(replies[n], ELSEWHERE):
                    break
                await asyncio.sleep(pause_s)
                place = self._told(replies[n], command, place)
                replies[n] = (await wires[place].exchange(again(command, replies[n]), limit_s))[-1]
        return replies

    def _told(self, reply: Any, command: Command, at: int) -> int:
        """Return the place where the server at `at` sends us with a command, and remember what has moved."""
        if not isinstance(reply, redis_errors.AskError):
            return self.placed([command])[0]
        there = place_told(reply.host, reply.port, self.places[at])
        if there not in self.places:
            self._reach(there)
        place = self.places.index(there)
        if self.shards is not None and for_good(reply):
            self.shards = self.shards.moved(reply.slot_id, tuple(self.places), place)
        return place
