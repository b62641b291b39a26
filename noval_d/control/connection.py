"""One connection of the control socket: bytes to frames and back, within the limits of time and size."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from nova_torch.errors import BadFrame, FrameTooLarge, NovaError, ProtocolMismatch, TimedOut
from nova_torch.protocol.frames import READING, REQUEST_ITEMS, FrameReader, check_hello, hello, pack
from noval_d.control.audit import Audit
from noval_d.control.calls import Access, Call, Limits, Peer
from noval_d.control.desk import Desk, Gone

log = logging.getLogger("nova.control")


class Connection(asyncio.Protocol):
    """A peer that was admitted. One frame at a time is on its way out; the others wait for their turn."""

    def __init__(
        self,
        *,
        peer: Peer,
        calls: Mapping[str, Call],
        limits: Limits,
        on_lost: Callable[[Connection], None],
        audit: Audit | None = None,
        settled: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self.peer = peer
        self.desk = Desk(
            peer=peer,
            calls=calls,
            limits=limits,
            send=self._send,
            on_done=self._one_done,
            audit=audit,
            settled=settled,
        )
        self._limits = limits
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = FrameReader(limits.request_bytes, REQUEST_ITEMS)
        self._turn = asyncio.Lock()
        self._writable = asyncio.Event()
        self._greeted = False
        self._deaf = False  # an error was said; what still comes is thrown away
        self._eof = False
        self._paused = False
        # The points in time at which something has lasted too long; None while it does not go on.
        self._hello_until: float | None = None
        self._frame_until: float | None = None
        self._write_until: float | None = None
        self._linger_until: float | None = None
        self._idle_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def __repr__(self) -> str:
        state = "deaf" if self._deaf else "greeted" if self._greeted else "new"
        return f"<Connection {self.peer} {state} {self.desk!r}>"

    # -- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock of the hello."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by class
        self._transport.set_write_buffer_limits(high=0)  # paused means: a frame has not left yet
        self._writable.set()
        if self._deaf:  # closed before it was open
            self._transport.abort()
            return
        self._hello_until = self._loop.time() + self._limits.hello_s
        self._arm()

    def data_received(self, data: bytes) -> None:
        """Take bytes; begin the calls that are whole."""
        if not self._deaf:
            self._reader.feed(data)
            self._pump()

    def eof_received(self) -> bool:
        """Let the calls in flight answer, end the streams; keep the transport as long as there is one."""
        self._eof = True
        self.desk.end_streams()
        return not self._deaf and self.desk.in_flight > 0

    def pause_writing(self) -> None:
        """Start the clock of the frame that does not leave."""
        self._writable.clear()
        self._write_until = self._loop.time() + self._limits.write_s
        self._arm()

    def resume_writing(self) -> None:
        """Let the next frame out."""
        self._write_until = None
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the handlers of the streams; plain calls run to their end."""
        self._transport = None
        self._deaf = True
        if self._timer is not None:
            self._timer.cancel()
        self._writable.set()
        self.desk.end_streams()
        self._on_lost(self)

    # -- what the server calls

    def close(self) -> None:
        """Close once all that was said is out."""
        self._deaf = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close now; what is not out is lost."""
        if self._transport is not None:
            self._transport.abort()

    # -- frames in

    def _pump(self) -> None:
        progress = False
        try:
            while not self.desk.full and (frame := self._reader.next()) is not None:
                progress = True
                self._idle_until = self._loop.time() + self._limits.idle_s
                if self._greeted:
                    self.desk.take(frame)
                else:
                    self._greet(frame)
        except (BadFrame, FrameTooLarge, ProtocolMismatch) as error:
            self._refuse(error)
            return
        self._pace()
        if self.desk.full or not self._reader.partial:
            self._frame_until = None
        elif progress or self._frame_until is None:
            self._frame_until = self._loop.time() + self._limits.frame_s
        self._arm()

    def _pace(self) -> None:
        """Leave unread what cannot be begun."""
        if self._transport is None or self._eof or self._paused == self.desk.full:
            return
        self._paused = self.desk.full
        if self._paused:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _greet(self, frame: Mapping[str, Any]) -> None:
        try:
            said = check_hello(frame, us="nova-torchd", them="the program")
        except ProtocolMismatch:
            self._say(hello(self._limits.request_bytes))  # so that it can name both itself
            raise
        self._greeted = True
        self._hello_until = None
        if said.get("access") == READING:
            self.peer = self.desk.peer = replace(self.peer, access=Access.READ)
        self._say(hello(self._limits.request_bytes, access=self.peer.access.name.lower()))

    def _one_done(self) -> None:
        self._idle_until = self._loop.time() + self._limits.idle_s
        if self._deaf:
            return
        self._pump()
        if self._eof and self.desk.in_flight == 0:
            self.close()

    # -- frames out

    async def _send(self, packed: bytes) -> None:
        async with self._turn:
            await self._writable.wait()
            if self._transport is None or self._transport.is_closing() or self._linger_until is not None:
                raise Gone
            self._transport.write(packed)

    def _say(self, frame: Mapping[str, Any]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(pack(frame))

    def _refuse(self, error: NovaError) -> None:
        """Say what is wrong with the connection and close it, leaving the peer time to read that."""
        if self._deaf or self._transport is None:
            return
        log.info(
            "control.refused",
            extra={"code": error.code, "peer_uid": self.peer.uid, "peer_pid": self.peer.pid},
        )
        self._say({"id": None, "err": error.to_wire()})
        self._deaf = True
        self.desk.end_streams()
        self._hello_until = self._frame_until = None
        self._linger_until = self._loop.time() + self._limits.linger_s
        if self._eof:
            self._transport.close()
            return
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
        if self._paused:
            self._transport.resume_reading()
        self._arm()

    # -- the clock

    def _arm(self) -> None:
        """Have `_tick` called at the next of the points in time."""
        if self._transport is None:
            return
        points = [self._hello_until, self._frame_until, self._write_until, self._linger_until]
        if self._greeted and not self._deaf and self.desk.in_flight == 0:
            points.append(self._idle_until)
        at = min((point for point in points if point is not None), default=None)
        if at is None or (self._timer is not None and self._timer_at <= at):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._loop.time()
        limits = self._limits
        if _over(self._write_until, now) or _over(self._linger_until, now):
            self.abort()
        elif _over(self._hello_until, now):
            self._refuse(TimedOut(f"no hello came within {limits.hello_s:g} s."))
        elif _over(self._frame_until, now):
            self._refuse(TimedOut(f"the rest of a frame did not come within {limits.frame_s:g} s."))
        elif self._greeted and self.desk.in_flight == 0 and _over(self._idle_until, now):
            self._refuse(TimedOut(f"the connection was idle for {limits.idle_s:g} s.", "Connect again."))
        self._arm()


def _over(point: float | None, now: float) -> bool:
    return point is not None and point <= now
