"""Say what a call of the control protocol is, who asks it and what asking may cost."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nova_torch.protocol.frames import REPLY_BYTES, REQUEST_BYTES


class Access(enum.IntEnum):
    """What a peer may do; a call names the least that it needs."""

    READ = 1
    WRITE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is at the other end of a connection, as the kernel says, and what it may do."""

    uid: int
    gid: int
    pid: int
    groups: frozenset[int]
    access: Access

    def __str__(self) -> str:
        return f"uid={self.uid} pid={self.pid} {self.access.name.lower()}"


Handler = Callable[[Peer, Mapping[str, Any]], Awaitable[Any] | AsyncIterator[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call that the daemon answers.

    A handler is a coroutine function, or, with `streams`, an async generator: its first item is the snapshot,
    the others are deltas. Asked without `more`, a streaming call answers with its snapshot and is closed.

    A plain call runs to its end even when its caller is gone; a stream is closed then.
    """

    handler: Handler
    access: Access
    streams: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the control socket allows: seconds, counts and bytes (ARCHITECTURE 3)."""

    hello_s: float = 2.0
    frame_s: float = 5.0  # from the first byte of a frame to its last
    write_s: float = 10.0  # for one frame to leave
    idle_s: float = 300.0  # with no call and no stream in flight
    linger_s: float = 1.0  # after an error of the connection, so that the peer can still read it
    grace_s: float = 5.0  # for the calls in flight when the daemon stops
    connections: int = 64
    reader_connections: int = 48  # so that those who may only read cannot lock out the owner
    calls: int = 64  # in flight on one connection; more are left unread until one is answered
    streams: int = 32  # on one connection
    request_bytes: int = REQUEST_BYTES
    reply_bytes: int = REPLY_BYTES
