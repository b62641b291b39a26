"""A control server for tests, and a client that can misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from typing import Any, TypeVar

import uvloop

from nova_torch.packed import Packed, pack_map
from nova_torch.protocol.frames import FrameReader, hello, pack
from noval_d.control.calls import Access, Call, Limits, Peer
from noval_d.control.hub import Hub
from noval_d.control.peers import Permissions
from noval_d.control.server import ControlServer

T = TypeVar("T")


def run_on(loop: str, coro: Coroutine[Any, Any, T], timeout_s: float = 30.0) -> T:
    """Run `coro` on `asyncio` or `uvloop`; fail the test when it takes too long."""

    async def limited() -> T:
        async with asyncio.timeout(timeout_s):
            return await coro

    with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None) as runner:
        return runner.run(limited())


@contextlib.contextmanager
def short_directory() -> Iterator[str]:
    """Yield a directory whose path leaves room for a socket's name."""
    with tempfile.TemporaryDirectory(prefix="nv", ignore_cleanup_errors=True) as directory:
        yield directory


class Desk:
    """The calls that the tests ask for, and what they saw."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.hub: Hub[int] = Hub()
        self.gate = asyncio.Event()  # `wait` answers once it is set
        self.entered = asyncio.Event()
        self.closed = asyncio.Event()  # a `watch` was closed
        self.finished = asyncio.Event()  # a `wait` ran to its end

    def calls(self) -> dict[str, Call]:
        def read(handler: Callable[[Peer, Mapping[str, Any]], Any], *, streams: bool = False) -> Call:
            return Call(handler=handler, access=Access.READ, streams=streams)

        return {
            "ping": read(self._ping),
            "echo": Call(handler=self._echo, access=Access.WRITE),
            "wait": read(self._wait),
            "fail": read(self._fail),
            "count": read(self._count, streams=True),
            "watch": read(self._watch, streams=True),
            "large": read(self._large),
            "packed": read(self._packed),
            "unpackable": read(self._unpackable),
        }

    async def _ping(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        self.seen.append("ping")
        return {"uid": peer.uid, "access": peer.access.name}

    async def _echo(self, peer: Peer, args: Mapping[str, Any]) -> Any:
        self.seen.append("echo")
        return args.get("body")

    async def _wait(self, peer: Peer, args: Mapping[str, Any]) -> str:
        self.seen.append("wait")
        self.entered.set()
        await self.gate.wait()
        self.finished.set()
        return "waited"

    async def _fail(self, peer: Peer, args: Mapping[str, Any]) -> None:
        if args.get("cancelled"):
            raise asyncio.CancelledError
        raise RuntimeError("secret detail")

    async def _count(self, peer: Peer, args: Mapping[str, Any]) -> AsyncIterator[int]:
        for number in range(args.get("n", 3)):
            yield number

    async def _watch(self, peer: Peer, args: Mapping[str, Any]) -> AsyncIterator[Any]:
        with self.hub.subscribe() as news:
            try:
                yield "snapshot"
                async for number in news:
                    yield [number, "x" * args.get("padding", 0)]
            finally:
                self.closed.set()

    async def _large(self, peer: Peer, args: Mapping[str, Any]) -> bytes:
        return b"x" * int(args["bytes"])

    async def _packed(self, peer: Peer, args: Mapping[str, Any]) -> Packed:
        return pack_map({"body": "x" * int(args["bytes"])})

    async def _unpackable(self, peer: Peer, args: Mapping[str, Any]) -> object:
        return object()


async def until(true: Callable[[], bool]) -> None:
    """Return once `true()` is; the limit is the test's own."""
    while not true():  # noqa: ASYNC110 - what is awaited has no event of its own
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def serving(
    desk: Desk | None = None, *, may: Permissions | None = None, limits: Limits | None = None, **more: Any
) -> AsyncIterator[ControlServer]:
    """Run a server with the calls of `desk`."""
    with short_directory() as directory:
        calls = (desk or Desk()).calls()
        server = ControlServer(f"{directory}/c", calls, may or Permissions.of(), limits=limits, **more)
        async with server:
            yield server


class Raw:
    """A client that sends whatever it is told to."""

    def __init__(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self.reader, self.writer = streams
        self._frames = FrameReader()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, server: ControlServer, *, greet: bool = True) -> AsyncIterator[Raw]:
        raw = cls(await asyncio.open_unix_connection(server.path))
        try:
            if greet:
                raw.say(hello())
                assert "hello" in (await raw.hear() or {})
            yield raw
        finally:
            raw.writer.close()

    def say(self, frame: Mapping[str, Any]) -> None:
        self.writer.write(pack(frame))

    async def hear(self) -> dict[str, Any] | None:
        """Return the next frame, None at the end."""
        while (frame := self._frames.next()) is None:
            data = await self.reader.read(1 << 16)
            if not data:
                return None
            self._frames.feed(data)
        return frame

    async def hear_code(self) -> str:
        """Return the code of the error that comes next."""
        frame = await self.hear()
        assert frame is not None
        assert "err" in frame, frame
        return str(frame["err"]["code"])
