"""Talk to the broker: connections, limits, scripts, and one error for every failure. Knows no key.

The rules are BROKER, section 2: RESP2 said explicitly, no silent retries, a pool that waits at most 5 s, and
a client of its own for blocking commands, whose flights are never cancelled. Replies come raw, as the wire
has them, so that no shape depends on the library.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

from redis import exceptions as redis_errors
from redis.asyncio import Redis
from redis.asyncio.connection import (
    BlockingConnectionPool,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from nova_torch.broker.address import Address, parse_address
from nova_torch.broker.scripts import Script
from nova_torch.errors import BrokerUnavailable

log = logging.getLogger("nova.broker")

LIMIT_S = 5.0
"""How long one command or one batch may take, a connection included."""
MAX_BLOCK_S = 5.0
"""A deleted stream does not wake its blocked reader on Dragonfly: nobody blocks longer than this."""
POOL_SIZE = 16
BLOCKING_POOL_SIZE = 8

Word = str | bytes | int | float
Command = Sequence[Word]


class Link:
    """The connections to one broker. Make it with `open`; every failure is BrokerUnavailable."""

    def __init__(self, address: Address, *, timeout_s: float = LIMIT_S) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self._commands = _client(address, POOL_SIZE, timeout_s, timeout_s)
        self._blocking = _client(address, BLOCKING_POOL_SIZE, timeout_s, MAX_BLOCK_S + LIMIT_S)
        self._flights: dict[str, asyncio.Task[Any]] = {}

    @classmethod
    async def open(cls, url: str, *, password: str | None = None, timeout_s: float = LIMIT_S) -> Link:
        """Connect to `url` and see an answer. Raises BrokerUnavailable, or ConfigInvalid for a wrong URL."""
        link = cls(parse_address(url, password=password), timeout_s=timeout_s)
        try:
            await link.command("PING")
        except BaseException:
            await link.close()
            raise
        log.info("broker.connected", extra={"url": link.address.shown})
        return link

    @property
    def shown(self) -> str:
        """The broker's URL without secrets."""
        return self.address.shown

    async def command(self, *words: Word) -> Any:
        """Send one command and return its raw reply."""
        async with self._limited():
            return await self._commands.execute_command(*words)

    async def batch(self, commands: Sequence[Command]) -> list[Any]:
        """Send `commands` in one write and return their raw replies. The first error of any is raised."""
        async with self._limited():
            replies = await self._pipeline(commands)
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
            return replies

    async def tried(self, commands: Sequence[Command]) -> list[Any]:
        """Send `commands` in one write and return their raw replies; what the server refuses is one of them."""
        async with self._limited():
            return await self._pipeline(commands)

    def single(self) -> Any:
        """Return a client for one more connection; whoever asks for it closes it."""
        return _client(self.address, 1, self.timeout_s, self.timeout_s)

    async def script(self, script: Script, keys: Sequence[str], *args: Word) -> list[bytes]:
        """Run one script and return its words."""
        async with self._limited():
            try:
                return _words(
                    await self._commands.execute_command("EVALSHA", script.sha, len(keys), *keys, *args)
                )
            except redis_errors.NoScriptError:
                return _words(
                    await self._commands.execute_command("EVAL", script.text, len(keys), *keys, *args)
                )

    async def scripts(
        self, script: Script, runs: Sequence[tuple[Sequence[str], Sequence[Word]]]
    ) -> list[list[bytes]]:
        """Run one script once for each `(keys, args)`, in order, in one write.

        The first run carries the text, so that a server that does not know the script learns it before the
        second: a run that is sent again behind its successors would break the order of a mailbox.
        """
        commands = [
            ("EVALSHA" if n else "EVAL", script.sha if n else script.text, len(keys), *keys, *args)
            for n, (keys, args) in enumerate(runs)
        ]
        return [_words(reply) for reply in await self.batch(commands)]

    async def blocking(self, flight: str, *words: Word) -> Any:
        """Send one blocking command on the client for these.

        A caller that is cancelled leaves the command in flight, since what it takes from the server would be
        lost; the next call with the same name of `flight` gets that command's reply.
        """
        task = self._flights.get(flight)
        if task is None:
            task = asyncio.create_task(self._fly(words), name=f"broker.{flight}")
            self._flights[flight] = task
        try:
            reply = await asyncio.shield(task)
        except asyncio.CancelledError:
            raise  # the flight stays, landed or not
        except Exception:
            self._landed(flight, task)
            raise
        self._landed(flight, task)
        return reply

    def _landed(self, flight: str, task: asyncio.Task[Any]) -> None:
        if self._flights.get(flight) is task:
            del self._flights[flight]

    async def close(self) -> None:
        """End every connection. A blocking command that is still in flight is given up."""
        flights, self._flights = list(self._flights.values()), {}
        for task in flights:
            task.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        for client in (self._commands, self._blocking):
            with contextlib.suppress(redis_errors.RedisError, OSError):
                await client.aclose()

    async def _fly(self, words: Command) -> Any:
        with self._translated():
            return await self._blocking.execute_command(*words)

    async def _pipeline(self, commands: Sequence[Command]) -> list[Any]:
        async with self._commands.pipeline(transaction=False) as pipe:
            for words in commands:
                pipe.execute_command(*words)
            replies: list[Any] = await pipe.execute(raise_on_error=False)
            return replies

    @contextlib.asynccontextmanager
    async def _limited(self) -> AsyncIterator[None]:
        task = asyncio.current_task()
        asked = task.cancelling() if task is not None else 0
        try:
            with self._translated():
                async with asyncio.timeout(self.timeout_s):
                    yield
        finally:
            # redis writes through asyncio.wait_for, which before Python 3.12 drops a cancellation that comes
            # just as the write ends: the task would go on for ever
            if task is not None and task.cancelling() > asked:
                raise asyncio.CancelledError

    @contextlib.contextmanager
    def _translated(self) -> Any:
        try:
            yield
        except (redis_errors.RedisError, OSError, TimeoutError) as error:
            raise unavailable(self.shown, error) from error

    def __repr__(self) -> str:
        return f"<Link {self.shown} flights={sorted(self._flights)}>"


def unavailable(shown: str, error: Exception) -> BrokerUnavailable:
    """Say what went wrong with the broker at `shown`, and what helps."""
    if isinstance(error, redis_errors.AuthenticationError):
        return BrokerUnavailable(
            f"the broker at {shown} refused the password.", "Check broker.password_file or the URL."
        )
    if isinstance(error, (redis_errors.TimeoutError, TimeoutError)):
        return BrokerUnavailable(f"the broker at {shown} does not answer in time.", "Is it stopped?")
    if isinstance(error, (redis_errors.ConnectionError, OSError)):
        return BrokerUnavailable(f"cannot reach the broker at {shown}: {_short(error)}.", "Is it running?")
    return BrokerUnavailable(f"the broker at {shown} refused: {_short(error)}.", "See `novactl doctor`.")


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:160].rstrip(". ") if str(error) else type(error).__name__


def _words(reply: Any) -> list[bytes]:
    return list(reply)


def _client(address: Address, size: int, connect_s: float, socket_s: float) -> Any:
    """Return a client whose every limit is said; untyped, since the library's own types change by version."""
    kinds: dict[str, type] = {
        "unix": UnixDomainSocketConnection,
        "redis": Connection,
        "rediss": SSLConnection,
    }
    place: dict[str, Any] = {"path": address.path}
    if address.scheme != "unix":
        place = {"host": address.host, "port": address.port, "socket_keepalive": True}
    if address.scheme == "rediss" and address.ca_certs:
        place["ssl_ca_certs"] = address.ca_certs
    pool = BlockingConnectionPool(
        max_connections=size,
        timeout=LIMIT_S,
        connection_class=kinds[address.scheme],
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        health_check_interval=0,
        socket_connect_timeout=connect_s,
        socket_timeout=socket_s,
        driver_info=None,  # one round trip less at connect; nothing reads it
        db=address.db,
        username=address.username,
        password=address.password,
        **place,
    )
    client = Redis.from_pool(pool)
    client.response_callbacks.clear()
    return client
