"""Serve the calls and streams of one connection, each in a task of its own. Knows frames, not sockets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, cast

from nova_torch.errors import (
    BadFrame,
    Busy,
    FrameTooLarge,
    InternalError,
    InvalidRequest,
    InvalidText,
    NotAllowed,
    NovaError,
    ShuttingDown,
    UnknownCall,
)
from nova_torch.nearest import suggestion
from nova_torch.packed import Packed, pack_map
from nova_torch.protocol.frames import framed, pack
from noval_d.control.audit import Audit, Caller
from noval_d.control.calls import Access, Call, Limits, Peer

log = logging.getLogger("nova.control")

NAME_CHARS = 64  # of a call's name that are repeated to the peer


class Gone(Exception):
    """The connection is closed; what was to be sent has nobody to read it."""


class Desk:
    """The calls in flight on one connection. `send` takes a packed frame and waits until it may go out."""

    def __init__(
        self,
        *,
        peer: Peer,
        calls: Mapping[str, Call],
        limits: Limits,
        send: Callable[[bytes], Awaitable[None]],
        on_done: Callable[[], None],
        audit: Audit | None = None,
        settled: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self.peer = peer
        self._audit = audit
        self._settled = settled
        self._caller: Caller | None = None
        self._calls = calls
        self._limits = limits
        self._send = send
        self._on_done = on_done
        self._plain: dict[int | str, asyncio.Task[None]] = {}
        self._streams: dict[int | str, asyncio.Task[None]] = {}
        self._reasons: dict[int | str, NovaError | None] = {}
        self._stopping = False

    def __repr__(self) -> str:
        return f"<Desk calls={len(self._plain)} streams={len(self._streams)}>"

    @property
    def in_flight(self) -> int:
        """How many calls and streams are being served."""
        return len(self._plain) + len(self._streams)

    @property
    def full(self) -> bool:
        """Whether the next frame has to wait for a call to end."""
        return len(self._plain) >= self._limits.calls

    @property
    def tasks(self) -> tuple[asyncio.Task[None], ...]:
        """The tasks that serve."""
        return (*self._plain.values(), *self._streams.values())

    def take(self, frame: Mapping[str, Any]) -> None:
        """Begin what a request asks for. Raises BadFrame when it is not a request."""
        call_id = frame.get("id")
        if type(call_id) is not int and not (isinstance(call_id, str) and 0 < len(call_id) <= NAME_CHARS):
            raise BadFrame("a request needs an id: an integer or a short text.")
        if frame.get("cancel") is True:
            self._end(call_id, None)
            return
        name, args = frame.get("call"), frame.get("args")
        if not isinstance(name, str):
            raise BadFrame("a request needs the name of a call as text.")
        if args is not None and not isinstance(args, dict):
            raise BadFrame("args must be a map.")
        if call_id in self._plain or call_id in self._streams:
            raise BadFrame("the id of a request is in use.")
        more = frame.get("more") is True
        tasks = self._streams if more else self._plain
        busy = more and len(tasks) >= self._limits.streams
        task = asyncio.create_task(
            self._serve(call_id, name, args or {}, more=more, busy=busy), name=f"control {name[:NAME_CHARS]}"
        )
        tasks[call_id] = task
        task.add_done_callback(lambda _: self._done(tasks, call_id))

    def end_streams(self, error: NovaError | None = None) -> None:
        """Close the handlers of all streams; their readers get an end, with `error` when there is one."""
        for call_id in tuple(self._streams):
            self._end(call_id, error)

    def stop(self) -> None:
        """Refuse new work and end the streams; calls in flight go on."""
        self._stopping = True
        self.end_streams(_shutting_down())

    def abandon(self) -> None:
        """Cancel the calls that are still in flight; each is answered with shutting_down."""
        for call_id, task in tuple(self._plain.items()):
            self._reasons[call_id] = _shutting_down()
            task.cancel()

    def _end(self, call_id: int | str, error: NovaError | None) -> None:
        task = self._streams.get(call_id)
        if task is not None and call_id not in self._reasons:
            self._reasons[call_id] = error
            task.cancel()

    def _done(self, tasks: dict[int | str, asyncio.Task[None]], call_id: int | str) -> None:
        del tasks[call_id]
        self._reasons.pop(call_id, None)
        self._on_done()

    async def _serve(
        self, call_id: int | str, name: str, args: Mapping[str, Any], *, more: bool, busy: bool
    ) -> None:
        try:
            last = await self._outcome(call_id, name, args, more=more, busy=busy)
            try:
                await self._send(self._packed(name, last))
            except NovaError as error:  # the answer itself does not fit
                await self._send(pack(_failed(call_id, error, more=more)))
        except Gone:
            return

    async def _outcome(
        self, call_id: int | str, name: str, args: Mapping[str, Any], *, more: bool, busy: bool
    ) -> dict[str, Any]:
        """Run the handler and return the last frame of the call."""
        note = _unnoted
        try:
            await self._known_by(name)
            note = self._note(name, args)
            call = self._find(name, more=more, busy=busy)
            if more:
                await self._run_stream(call_id, name, call, args, note)
                return {"id": call_id, "end": True}
            result = await self._run_plain(call, args)
        except NovaError as error:
            note(error.code)
            return _failed(call_id, error, more=more)
        except Gone:
            raise
        except asyncio.CancelledError:
            if call_id in self._reasons:
                reason = self._reasons[call_id]
                return {"id": call_id, "end": True} if reason is None else _failed(call_id, reason, more=more)
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            log.exception("control.call_failed", extra={"call": name, "peer_pid": self.peer.pid})
            note(InternalError.code)
            return _failed(call_id, _internal(name), more=more)
        except Exception:
            log.exception("control.call_failed", extra={"call": name, "peer_pid": self.peer.pid})
            note(InternalError.code)
            return _failed(call_id, _internal(name), more=more)
        note("ok", result)
        return {"id": call_id, "ok": result}

    async def _known_by(self, name: str) -> None:
        """Wait until it can be told who calls: what may change something is done in the caller's name."""
        call = self._calls.get(name)
        if self._settled is not None and call is not None and call.access is Access.WRITE:
            await self._settled()

    def _note(self, name: str, args: Mapping[str, Any]) -> Callable[..., None]:
        """Return what writes the call into the audit log: once, with the code of its result."""
        audit, call = self._audit, self._calls.get(name)
        if audit is None:
            return _unnoted
        if self._caller is None and audit.wants(name, call, "ok"):
            self._caller = audit.caller(self.peer)
        written = False

        def note(code: str, result: object = None) -> None:
            nonlocal written
            if not written and audit.wants(name, call, code):
                self._caller = self._caller or audit.caller(self.peer)
                audit.call(self._caller, name, args, code, result)
            written = True

        return note

    def _find(self, name: str, *, more: bool, busy: bool) -> Call:
        if self._stopping:
            raise _shutting_down()
        call = self._calls.get(name)
        if call is None:
            shown = name[:NAME_CHARS]
            cure = suggestion(shown, self._calls, otherwise="Both sides may be of different releases.")
            raise UnknownCall(f"nova-torchd has no call {shown!r}.", cure)
        if self.peer.access < call.access:
            raise NotAllowed(
                f"{name} needs write access, user {self.peer.uid} may only read.",
                "Run this as the daemon's user, or be named in its configuration.",
            )
        if more and not call.streams:
            raise InvalidRequest(f"{name} is no stream.", "Ask without more.")
        if busy:
            raise Busy(f"a connection takes {self._limits.streams} streams.", "Open another connection.")
        return call

    async def _run_plain(self, call: Call, args: Mapping[str, Any]) -> Any:
        found = call.handler(self.peer, args)
        if not call.streams:
            return await cast("Awaitable[Any]", found)
        stream = cast("AsyncIterator[Any]", found)
        try:
            return await anext(stream, None)
        finally:
            await _close(stream)

    async def _run_stream(
        self, call_id: int | str, name: str, call: Call, args: Mapping[str, Any], note: Callable[..., None]
    ) -> None:
        stream = cast("AsyncIterator[Any]", call.handler(self.peer, args))
        kind = "snapshot"
        try:
            async for item in stream:
                note("ok", item)
                await self._send(self._packed(name, {"id": call_id, "more": kind, "ok": item}))
                kind = "delta"
        finally:
            await _close(stream)

    def _packed(self, name: str, frame: dict[str, Any]) -> bytes:
        limit_bytes = self._limits.reply_bytes
        try:
            if isinstance(frame.get("ok"), Packed):
                return framed(pack_map(frame).pieces, limit_bytes)
            return pack(frame, limit_bytes)
        except FrameTooLarge as error:
            raise FrameTooLarge(
                f"the answer to {name} is too large: {error.message}", "Ask for less."
            ) from None
        except (BadFrame, InvalidText):
            log.exception("control.answer_unpackable", extra={"call": name})
            raise _internal(name) from None


def _unnoted(_code: str, _result: object = None) -> None:
    """Write nothing into an audit log."""


async def _close(stream: AsyncIterator[Any]) -> None:
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()


def _failed(call_id: int | str, error: NovaError, *, more: bool) -> dict[str, Any]:
    frame: dict[str, Any] = {"id": call_id, "err": error.to_wire()}
    if more:
        frame["end"] = True
    return frame


def _internal(name: str) -> InternalError:
    return InternalError(f"nova-torchd failed at {name[:NAME_CHARS]}.", "Its log has the reason.")


def _shutting_down() -> ShuttingDown:
    return ShuttingDown("nova-torchd is stopping.", "Ask again once it runs: novactl up")
