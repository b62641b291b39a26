"""Call the daemon from a plain program: one socket, one call at a time, every wait limited.

Light on purpose, the hot commands import it: `_socket` is built in, `socket` would cost 4 ms more.
One thread at a time may use a Client.
"""

from __future__ import annotations

import _socket
import errno
import os
import time

from nova_torch.errors import BadFrame, FrameTooLarge, NovaError, TimedOut
from nova_torch.protocol.frames import (
    READING,
    REQUEST_BYTES,
    FrameReader,
    answer,
    check_hello,
    hello,
    is_end,
    pack,
    request,
    taken_bytes,
    timed_out,
)
from nova_torch.protocol.unreachable import from_os_error, hung_up, not_ours, too_long, unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType
    from typing import Any, Self

CHUNK_BYTES = 65_536
RETRY_S = 0.01  # a Unix socket cannot wait for room in the daemon's queue of connections, so it asks again


class Client:
    """A connection to the daemon. Make it with `Client.connect`; use it as a context manager."""

    __slots__ = (
        "_ids", "_reader", "_request_bytes", "_socket", "access", "path", "server_version", "timeout_s",
    )  # fmt: skip

    def __init__(self, path: str, sock: _socket.socket, timeout_s: float) -> None:
        self.path = path
        self.timeout_s = timeout_s
        self.server_version = ""
        self.access = ""
        """`read` or `write`, as the daemon says; empty for one that does not say it yet."""
        self._socket: _socket.socket | None = sock
        self._reader = FrameReader()
        self._request_bytes = REQUEST_BYTES
        self._ids = 0

    @classmethod
    def connect(cls, path: str | os.PathLike[str], timeout_s: float = 10.0, *, reading: bool = False) -> Self:
        """Connect to the daemon at `path` and greet it.

        `timeout_s` limits this and is the limit of every call that names none. With `reading` it asks to be
        shown only what readers are: no body, no pane; whether that was understood is in `access`. Raises
        DaemonUnreachable with the reason and the cure, ProtocolMismatch, NotAllowed, Busy.
        """
        path = os.fspath(path)
        deadline = time.monotonic() + timeout_s
        client = cls(path, _dial(path, deadline), timeout_s)
        try:
            client._greet(deadline, READING if reading else "")
        except BaseException:
            client.close()
            raise
        return client

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._socket is None else f"calls={self._ids}"
        return f"<Client {self.path} {state}>"

    def close(self) -> None:
        """Close the connection; again is fine."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def call(self, name: str, args: Mapping[str, Any] | None = None, timeout_s: float | None = None) -> Any:
        """Ask the daemon and return its answer.

        Raises the NovaError that it reported, TimedOut when no answer came in `timeout_s` (the daemon goes
        on), DaemonUnreachable when the connection is lost.
        """
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        deadline = time.monotonic() + limit_s
        call_id = self._ask(name, args, deadline, more=False)
        try:
            return answer(self._await(call_id, deadline))
        except TimeoutError:
            raise timed_out(name, limit_s) from None

    def stream(
        self, name: str, args: Mapping[str, Any] | None = None, timeout_s: float | None = None
    ) -> Iterator[Any]:
        """Ask the daemon for a stream and yield its snapshot, then its deltas, until it ends.

        `timeout_s` limits the whole stream; None lets it run on, but its snapshot must come within the
        client's own limit. Closing the iterator ends the stream at the daemon too.
        """
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        until: float | None = time.monotonic() + limit_s
        call_id = self._ask(name, args, time.monotonic() + limit_s, more=True)
        ended = False
        try:
            while True:
                try:
                    frame = self._await(call_id, until)
                except TimeoutError:
                    raise timed_out(name, limit_s) from None
                ended = is_end(frame)
                if "err" in frame or not ended:
                    yield answer(frame)
                if ended:
                    return
                if timeout_s is None:
                    until = None
        finally:
            if not ended:
                self._cancel(call_id)

    def _greet(self, deadline: float, access: str) -> None:
        try:
            self._say_hello(deadline, access)
            frame = self._receive(deadline)
            if "err" in frame:
                answer(frame)
            said = check_hello(frame, us="this program", them="nova-torchd")
        except TimeoutError as error:
            raise from_os_error(self.path, error) from None
        except (BadFrame, FrameTooLarge) as error:
            raise not_ours(self.path) from error
        self.server_version = str(said.get("version", ""))
        self.access = str(said.get("access", ""))
        self._request_bytes = taken_bytes(said)

    def _say_hello(self, deadline: float, access: str) -> None:
        sock = self._open()
        sock.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            sock.sendall(pack(hello(access=access)), _socket.MSG_NOSIGNAL)
        except (BrokenPipeError, ConnectionResetError):
            return  # it closed already: why, can still be read

    def _ask(self, name: str, args: Mapping[str, Any] | None, deadline: float, *, more: bool) -> int:
        self._ids += 1
        packed = pack(request(self._ids, name, args, more=more), self._request_bytes)
        try:
            self._send(packed, deadline)
        except TimeoutError:
            self.close()  # half a frame may be out: nothing can follow it
            raise TimedOut(f"nova-torchd did not take {name} in time.", "See: novactl doctor") from None
        return self._ids

    def _cancel(self, call_id: int) -> None:
        if self._socket is None:
            return
        try:
            self._send(pack({"id": call_id, "cancel": True}), time.monotonic() + 1.0)
        except (OSError, NovaError):
            self.close()  # whoever closes a stream has no use for the reason

    def _await(self, call_id: int, deadline: float | None) -> dict[str, Any]:
        """Return the next frame of the call; frames of calls given up are passed over."""
        while True:
            frame = self._receive(deadline)
            if frame.get("id") == call_id:
                return frame
            if frame.get("id") is None and "err" in frame:
                self.close()  # an error of the connection, not of a call: the daemon closes it
                answer(frame)

    def _send(self, data: bytes, deadline: float) -> None:
        sock = self._open()
        try:
            sock.settimeout(max(deadline - time.monotonic(), 0.001))
            sock.sendall(data, _socket.MSG_NOSIGNAL)
        except TimeoutError:
            raise
        except OSError as error:
            # The daemon closed; what it said before (busy, not_allowed, frame_too_large) can still be read.
            frame = self._last_word(deadline)
            self.close()
            if frame is not None:
                answer(frame)
            raise hung_up(self.path) from error

    def _last_word(self, deadline: float) -> dict[str, Any] | None:
        try:
            while True:
                frame = self._receive(deadline)
                if "err" in frame and frame.get("id") is None:
                    return frame
        except (OSError, NovaError):
            return None

    def _receive(self, deadline: float | None) -> dict[str, Any]:
        """Return the next frame. Raises TimeoutError at `deadline` (None: none), DaemonUnreachable."""
        sock = self._open()
        try:
            while (frame := self._reader.next()) is None:
                sock.settimeout(None if deadline is None else max(deadline - time.monotonic(), 0.001))
                data = sock.recv(CHUNK_BYTES)
                if not data:
                    self.close()
                    raise hung_up(self.path)
                self._reader.feed(data)
        except TimeoutError:
            raise
        except OSError as error:
            self.close()
            raise hung_up(self.path) from error
        except (BadFrame, FrameTooLarge):
            self.close()
            raise
        return frame

    def _open(self) -> _socket.socket:
        if self._socket is None:
            raise unreachable(self.path, "the connection is closed", "Connect again")
        return self._socket


def _dial(path: str, deadline: float) -> _socket.socket:
    long = too_long(path)
    if long is not None:
        raise long
    while True:
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            sock.settimeout(max(deadline - time.monotonic(), 0.001))
            sock.connect(path)
        except OSError as error:
            sock.close()
            if error.errno == errno.EAGAIN and time.monotonic() + RETRY_S < deadline:
                time.sleep(RETRY_S)
                continue
            raise from_os_error(path, error) from error
        except BaseException:
            sock.close()
            raise
        return sock
