"""Talk to the broker: connections, limits, scripts, and one error for every failure. Knows no key.

The rules are BROKER, section 2: RESP2 said explicitly, no silent retries, a limit of 5 s on whatever is asked, and
connections of their own for blocking commands, whose flights are never cancelled. Replies come raw, as the wire
has them, so that no shape depends on the library.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from redis import exceptions as redis_errors

from nova_torch.broker.address import Address, parse_route
from nova_torch.broker.client import client
from nova_torch.broker.finding import ASK_S, find_master, find_shards
from nova_torch.broker.flights import Flight, Flights
from nova_torch.broker.refusals import unavailable
from nova_torch.broker.scripts import Script
from nova_torch.broker.slots import Shards
from nova_torch.broker.tls import tls_context
from nova_torch.broker.ways import Ways
from nova_torch.broker.wires import Command, Word
from nova_torch.errors import BrokerGivenUp, KeyUnfit, NovaError
from nova_torch.login import NOBODY, Login

log = logging.getLogger("nova.broker")

LIMIT_S = 5.0
"""How long one command or one batch may take, a connection included."""
MAX_BLOCK_S = 5.0
"""A deleted stream does not wake its blocked reader on Dragonfly: nobody blocks longer than this."""
GIVE_UP_S = 1.0
"""How long commands that are given up may take to end."""
FAILURES = (redis_errors.RedisError, OSError, RuntimeError)
"""What redis-py and the event loops raise for a connection."""

_Turn = list[tuple[Command, asyncio.Future[Any]]]


class Link:
    """The connections to one broker: to each of its shards. Make it with `open`; a failure is BrokerUnavailable."""

    def __init__(self, address: Address, *, shards: Shards | None = None, timeout_s: float = LIMIT_S) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self._tls = tls_context(address.login) if address.scheme == "rediss" else None
        self._ways = Ways(address, shards, self._tls, timeout_s)
        self._flights = Flights()
        self._turn: _Turn = []
        """What is asked for in this turn of the event loop, to go in one write."""
        self._turns: set[asyncio.Future[list[Any]]] = set()
        self._spread: set[asyncio.Timeout] = set()
        """The limits of what is asked of several shards, one after the other."""
        self._closed = False
        self.on_unfit: Callable[[], None] = lambda: None
        """Called whenever a key turns out to be of another type than it must be."""

    @classmethod
    async def open(cls, url: str, login: Login = NOBODY, *, timeout_s: float = LIMIT_S) -> Link:
        """Connect to `url` and see an answer.

        Raises BrokerUnavailable, or ConfigInvalid for a wrong URL and for files that TLS cannot use.
        """
        address = await find_master(parse_route(url, login), cls._ask)
        link = cls(address, timeout_s=timeout_s)
        try:
            shards = await find_shards(link)
            if shards is not None:
                await link.close()
                link = cls(address, shards=shards, timeout_s=timeout_s)
                await link.everywhere("PING")
        except BaseException:
            await link.close()
            raise
        log.info("broker.connected", extra={"url": link.address.shown})
        return link

    @classmethod
    async def _ask(cls, address: Address, *words: Word) -> Any:
        """Send one command on a connection for it alone."""
        link = cls(address, timeout_s=ASK_S)
        try:
            return await link.command(*words)
        finally:
            await link.close()

    @property
    def shown(self) -> str:
        """The broker's URL without secrets."""
        more = len(self._ways.places) - 1
        return f"{self.address.shown} ({more + 1} shards)" if more else self.address.shown

    @property
    def tags(self) -> list[str]:
        """A hash tag for each shard; none when there is but one server."""
        return self._ways.shards.tags() if self._ways.shards is not None else []

    async def command(self, *words: Word) -> Any:
        """Send one command and return its raw reply."""
        (reply,) = await self._exchange([words])
        return self._granted(reply)

    async def everywhere(self, *words: Word) -> list[Any]:
        """Send one command without a key to every shard, and return the replies in their order."""
        replies = []
        for place in range(len(self._ways.commands)):
            (reply,) = await self._exchange([words], place)
            replies.append(self._granted(reply, place))
        return replies

    async def batch(self, commands: Sequence[Command]) -> list[Any]:
        """Send `commands` in one write and return their raw replies. The first error of any is raised.

        With several shards it is one write to each, one after the other, in the order of `commands`.
        """
        return [self._granted(reply) for reply in await self._exchange(commands)]

    async def fit(self, commands: Sequence[Command]) -> list[bool]:
        """Send `commands` in one write, each for itself; False where a key has another type."""
        replies = await self._exchange(commands)
        return [not isinstance(reply, Exception) or self._fits(reply) for reply in replies]

    async def tried(self, commands: Sequence[Command]) -> list[Any]:
        """Send `commands` in one write and return their raw replies; what the server refuses is one of them."""
        return await self._exchange(commands)

    def refused(self, *replies: Any) -> None:
        """Raise what the server refused, if one of the `replies` of `tried` is that."""
        for reply in replies:
            self._granted(reply)

    def single(self) -> Any:
        """Return a client for one more connection; whoever asks for it closes it."""
        return client(self._ways.places[0], self._tls, self.timeout_s)

    async def script(self, script: Script, keys: Sequence[str], *args: Word) -> list[bytes]:
        """Run one script and return its words."""
        by_sha = self.by_sha(script, keys, *args)
        (reply,) = await self._exchange([by_sha])
        if isinstance(reply, Exception):
            reply = await self._learnt(script, by_sha, reply)
        words: list[bytes] = reply
        return words

    async def script_after(
        self, first: Sequence[Command], script: Script, keys: Sequence[str], *args: Word
    ) -> tuple[list[Any], list[bytes]]:
        """Send `first` and then run one script, all in one write; return the raw replies, and its words."""
        *told, reply = await self._exchange([*first, by_sha := self.by_sha(script, keys, *args)])
        self.refused(*told)
        if isinstance(reply, Exception):
            reply = await self._learnt(script, by_sha, reply)
        return told, reply

    async def script_along(self, script: Script, keys: Sequence[str], *args: Word) -> list[bytes]:
        """Run one script as `script` does, in one write with all that is asked for so in this turn of the loop."""
        by_sha = self.by_sha(script, keys, *args)
        loop = asyncio.get_running_loop()
        told: asyncio.Future[Any] = loop.create_future()
        if not self._turn:
            loop.call_soon(self._send_turn)
        self._turn.append((by_sha, told))
        reply = await told
        if isinstance(reply, Exception):
            reply = await self._learnt(script, by_sha, reply)
        words: list[bytes] = reply
        return words

    async def _learnt(self, script: Script, by_sha: Command, reply: Exception) -> Any:
        """Send the text of a script that the server does not know; raise what else it said."""
        if not isinstance(reply, redis_errors.NoScriptError):
            return self._granted(reply)
        return self._granted((await self._exchange([("EVAL", script.text, *by_sha[2:])]))[0])

    def _send_turn(self) -> None:
        turn, self._turn = self._turn, []
        commands = [command for command, _ in turn]
        sent: asyncio.Future[list[Any]]
        try:
            if self._closed or self._ways.shards is not None:
                sent = asyncio.create_task(self._exchange(commands), name="broker.turn")
            else:
                sent = self._ways.commands[0].begin(commands, self.timeout_s)
        except Exception as error:  # noqa: BLE001 - what cannot be sent is theirs who asked
            _tell(turn, [error] * len(turn))
            return
        self._turns.add(sent)
        sent.add_done_callback(partial(self._told, turn))

    def _told(self, turn: _Turn, sent: asyncio.Future[list[Any]]) -> None:
        self._turns.discard(sent)
        if not sent.cancelled():  # else the loop ends
            error = sent.exception()
            _tell(turn, sent.result() if error is None else [error] * len(turn))

    @staticmethod
    def by_sha(script: Script, keys: Sequence[str], *args: Word) -> Command:
        """Return the command that runs a script which the server knows."""
        return ("EVALSHA", script.sha, len(keys), *keys, *args)

    async def scripts(
        self,
        script: Script,
        runs: Sequence[tuple[Sequence[str], Sequence[Word]]],
        then: Sequence[Command] = (),
    ) -> list[list[bytes] | None]:
        """Run one script once for each `(keys, args)`, in order, and then some commands, all in one write.

        Returns the words of each run; None where a key has another type, of which a command of `then` says nothing.
        The first of several runs at a server carries the text, so that one that does not know the script learns it
        before the second: a run that is sent again behind its successors would break the order of a mailbox. With
        several shards the commands of `then` are sent when every run is done.
        """
        if len(runs) == 1:
            by_sha = self.by_sha(script, runs[0][0], *runs[0][1])
            told = await self._first_then([by_sha], then)
            if isinstance(told[0], redis_errors.NoScriptError):
                told = await self._first_then([("EVAL", script.text, *by_sha[2:])], then)
            return [list(told[0]) if self._fits(told[0]) else None]
        commands: list[Command] = []
        places: set[int] = set()
        for keys, args in runs:
            (place,) = self._ways.placed([("EVAL", "", len(keys), *keys)])
            first = ("EVALSHA", script.sha) if place in places else ("EVAL", script.text)
            places.add(place)
            commands.append((*first, len(keys), *keys, *args))
        replies = await self._first_then(commands, then)
        return [list(reply) if self._fits(reply) else None for reply in replies]

    async def _first_then(self, first: Sequence[Command], then: Sequence[Command]) -> list[Any]:
        """Send `first`, then `then`, and return the replies to `first`."""
        if self._ways.shards is None:
            replies = await self._exchange([*first, *then])
        else:
            replies = await self._exchange(first)
            replies += await self._exchange(then) if then else []
        for reply in replies[len(first) :]:
            self._fits(reply)
        return replies[: len(first)]

    async def blocking(self, flight: str, *words: Word) -> Any:
        """Send one blocking command on the connections for these, and return its reply."""
        return (await self.blocking_after(None, flight, *words))[1]

    async def blocking_after(
        self, first: Command | None, flight: str, *words: Word, takes: bool = True
    ) -> tuple[Any, Any]:
        """Send a blocking command and, in the same write before it, another one; return what both reply.

        The reply to `first` may be an error; it is None without one. A caller that is cancelled leaves the command
        in flight, since what it takes from the server would be lost; the next call with the same name of `flight`
        gets that command's reply. With `takes` false nothing would be lost, and it is forgotten with its reply.
        Raises BrokerGivenUp when the connection is closed meanwhile.
        """
        if self._closed:
            raise self._given_up()
        sent = self._flights.find(flight)
        said = None
        if sent is None:
            sent = self._flights.begin(flight, self._fly([words] if first is None else [first, words]))
        elif first is not None:  # too late for that write
            (said,), first = await self.tried([first]), None
        await self._flights.land(flight, sent, takes=takes)
        if sent.cancelled():  # by `close`
            raise self._given_up()
        try:
            *before, reply = sent.result()
            return before[0] if first is not None else said, self._granted(reply)
        except FAILURES as error:
            raise self._failure(error, self._ways.placed([words])[0]) from error

    def _fly(self, commands: Sequence[Command]) -> Flight:
        """Send a blocking command, and perhaps one before it, for whoever comes to ask for the replies."""
        limit_s = MAX_BLOCK_S + LIMIT_S
        if self._ways.shards is None:
            return self._ways.blocking[0].begin(commands, limit_s)
        (place,) = self._ways.placed(commands[-1:])
        return asyncio.create_task(
            self._ways.exchange_blocking(commands, place, limit_s), name="broker.blocking"
        )

    async def close(self) -> None:
        """End every connection. What still waits for a reply is given up first, and raises BrokerGivenUp."""
        self._closed = True
        await self._flights.give_up()
        for limit in self._spread:
            if not limit.expired():
                limit.reschedule(0)
        self._ways.give_up()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GIVE_UP_S):
                await self._ways.quiet()
        self._ways.close()

    async def _exchange(self, commands: Sequence[Command], place: int | None = None) -> list[Any]:
        """Send `commands` within the limit, to `place` or where each belongs; return the server's reply to each."""
        if self._closed:
            raise self._given_up()
        if self._ways.shards is not None:
            return await self._exchange_each(commands, place)
        try:
            return await self._ways.commands[0].exchange(commands, self.timeout_s)
        except FAILURES as error:
            raise self._failure(error, 0) from error

    async def _exchange_each(self, commands: Sequence[Command], place: int | None) -> list[Any]:
        """Do so with several shards.

        Each gets its own in one write; one after the other, since a bell is rung for what lies there already.
        """
        places = self._ways.placed(commands) if place is None else [place] * len(commands)
        at = places[0] if places else 0
        replies: list[Any] = [None] * len(commands)
        try:
            async with asyncio.timeout(self.timeout_s) as limit:
                self._spread.add(limit)
                try:
                    for at in dict.fromkeys(places):
                        mine = [n for n, its in enumerate(places) if its == at]
                        got = await self._ways.exchange([commands[n] for n in mine], at)
                        for n, reply in zip(mine, got, strict=True):
                            replies[n] = reply
                    return replies
                finally:
                    self._spread.discard(limit)
        except FAILURES as error:
            raise self._failure(error, at) from error

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Raise BrokerUnavailable for what a connection of this link raises: all of it is known here only."""
        try:
            yield
        except FAILURES as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception, place: int | None = None) -> Exception:
        """Return what to raise for what a connection, or the server, said."""
        said = error
        if isinstance(error, RuntimeError):
            if "closed" not in str(error):
                return error
            # uvloop's word for a write to a connection that was reset or closed just now
            said = ConnectionResetError("it closed the connection")
        if self._closed:
            return self._given_up()
        failure = unavailable(self.shown if place is None else self._ways.places[place].shown, said)
        if isinstance(failure, KeyUnfit):
            self.on_unfit()
        return failure

    def _granted(self, reply: Any, place: int | None = None) -> Any:
        """Return a reply; raise what the server refused, or what became of the connection."""
        if isinstance(reply, NovaError):
            raise reply
        if isinstance(reply, Exception):
            raise self._failure(reply, place) from reply
        return reply

    def _given_up(self) -> BrokerGivenUp:
        return BrokerGivenUp(f"the connection to {self.shown} was given up.", "It is tried again.")

    def _fits(self, reply: Any) -> bool:
        """Tell whether a reply does not say that a key has another type; anything else that is wrong is raised."""
        if not isinstance(reply, Exception):
            return True
        failure = self._failure(reply)
        if not isinstance(failure, KeyUnfit):
            raise failure from reply
        return False

    def __repr__(self) -> str:
        return f"<Link {self.shown} flights={self._flights!r}>"


def _tell(turn: _Turn, replies: Sequence[Any]) -> None:
    for (_, told), reply in zip(turn, replies, strict=True):
        if not told.done():
            told.set_result(reply)
