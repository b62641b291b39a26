"""Ask an HTTP server on a port of this machine: small answers, and streams of events. Every wait has a limit.

Only what such servers need of HTTP/1.1: one request a connection, bodies by length, in chunks or to the end. What
is not that, or too large, raises `ApiFailed`: nothing of it is believed.
"""

from __future__ import annotations

import asyncio
import contextlib
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

HOST = "127.0.0.1"
HEAD_BYTES = 65536
CONNECT_S = 3.0
READ_BYTES = 65536
BROKEN = (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


class ApiFailed(Exception):
    """The answer did not come whole: what became of the request is not known."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. `login` is `user:password`, empty for none."""

    method: str
    path: str
    body: bytes = b""
    login: str = ""

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path} {len(self.body)} bytes>"

    def wire(self, port: int) -> bytes:
        """Return the bytes that are sent."""
        head = [f"{self.method} {self.path} HTTP/1.1", f"Host: {HOST}:{port}", "Connection: close"]
        if self.login:
            head.append(f"Authorization: Basic {b64encode(self.login.encode()).decode()}")
        if self.body:
            head += ["Content-Type: application/json", f"Content-Length: {len(self.body)}"]
        return "\r\n".join([*head, "", ""]).encode() + self.body


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole."""

    status: int
    body: bytes


async def ask(
    port: int, request: Request, *, owner: Callable[[], bool], within_s: float, max_bytes: int
) -> Answer:
    """Return the answer. Raises ApiFailed.

    `owner` says whether the port is still that of whom it is for: it is asked again once the connection
    stands, before a byte is sent.
    """
    try:
        async with asyncio.timeout(within_s), _open(port, request, owner) as (reader, status, headers):
            body = bytearray()
            async for piece in _pieces(reader, headers):
                body += piece
                if len(body) > max_bytes:
                    raise ApiFailed(f"more than {max_bytes} bytes came back")
            return Answer(status, bytes(body))
    except TimeoutError:
        raise ApiFailed(f"no answer within {within_s:g} s") from None
    except BROKEN as error:
        raise ApiFailed(f"{type(error).__name__}: {error}") from None


async def events(
    port: int, request: Request, *, owner: Callable[[], bool], first_s: float, silent_s: float
) -> AsyncIterator[bytes]:
    """Yield the data of each server-sent event. Raises ApiFailed, also after `silent_s` without a byte.

    The first one has to come within `first_s`.

    An event that is larger than what `EventReader` keeps is left out.
    """
    try:
        async with (
            asyncio.timeout(first_s) as limit,
            _open(port, request, owner) as (reader, status, headers),
        ):
            if status != 200:
                raise ApiFailed(f"{request.path} answers {status}")
            found = EventReader()
            async for piece in _pieces(reader, headers):
                for data in found.take(piece):
                    limit.reschedule(None)  # what the reader of events does with one has limits of its own
                    yield data
                limit.reschedule(asyncio.get_running_loop().time() + silent_s)
    except TimeoutError:
        raise ApiFailed("nothing came in time") from None
    except BROKEN as error:
        raise ApiFailed(f"{type(error).__name__}: {error}") from None


class EventReader:
    """Put server-sent events together from the pieces of a stream. No I/O."""

    def __init__(self, max_bytes: int = 4 << 20) -> None:
        self._max_bytes = max_bytes
        self._rest = bytearray()
        self._dropping = False

    def take(self, piece: bytes) -> list[bytes]:
        """Return the data of the events that are whole now."""
        begin = max(len(self._rest) - 1, 0)
        self._rest += piece
        found: list[bytes] = []
        while (end := self._rest.find(b"\n\n", begin)) >= 0:
            event, begin = bytes(self._rest[:end]), 0
            del self._rest[: end + 2]
            lines = [line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]
            if lines and not self._dropping:
                found.append(b"\n".join(lines))
            self._dropping = False
        if len(self._rest) > self._max_bytes:
            del self._rest[:-1]
            self._dropping = True
        return found


@contextlib.asynccontextmanager
async def _open(
    port: int, request: Request, owner: Callable[[], bool]
) -> AsyncIterator[tuple[asyncio.StreamReader, int, Mapping[str, str]]]:
    """Send the request; give what follows the head of the answer, with its status and headers."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(HOST, port, limit=HEAD_BYTES)
        if not owner():
            raise ApiFailed("the port is no longer the agent's")
        writer.write(request.wire(port))
        await writer.drain()
        yield reader, *await _head(reader)
    finally:
        if writer is not None:
            writer.transport.abort()


async def _head(reader: asyncio.StreamReader) -> tuple[int, Mapping[str, str]]:
    try:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except asyncio.LimitOverrunError:
        raise ApiFailed("the head of the answer has no end") from None
    version, _, rest = lines[0].partition(" ")
    status = rest[:3]
    if not version.startswith("HTTP/1.") or not status.isdigit():
        raise ApiFailed("that is no HTTP")
    pairs = (line.partition(":") for line in lines[1:] if line)
    return int(status), {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _pieces(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> AsyncIterator[bytes]:
    """Yield the body as it comes; one that ends early raises IncompleteReadError."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            async for piece in _exactly(reader, size):
                yield piece
            await reader.readexactly(2)
        return
    if "content-length" in headers:
        async for piece in _exactly(reader, int(headers["content-length"])):
            yield piece
        return
    while piece := await reader.read(READ_BYTES):
        yield piece


async def _exactly(reader: asyncio.StreamReader, size: int) -> AsyncIterator[bytes]:
    if size < 0:
        raise ApiFailed("a piece of negative length")
    while size:
        piece = await reader.read(min(size, READ_BYTES))
        if not piece:
            raise asyncio.IncompleteReadError(b"", size)
        size -= len(piece)
        yield piece
