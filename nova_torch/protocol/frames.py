"""Turn maps into frames of the control protocol and back: 4-byte big-endian length, then a msgpack map.

Light on purpose, the hot commands import it: msgpack is all it costs. No I/O. Keys are text; values are what
msgpack knows: nil, booleans, integers of 64 bits, floats, text, bytes, lists and maps.
"""

from __future__ import annotations

import msgpack

from nova_torch.errors import BadFrame, FrameTooLarge, InvalidText, ProtocolMismatch, TimedOut, from_wire
from nova_torch.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

PROTO_LOW = 1
PROTO_HIGH = 1
DAEMON = "nova-torchd"
READING = "read"

HEADER_BYTES = 4
ENVELOPE_BYTES = 64 * 1024  # what a request may need around its body: names, headers, the path of a pane
REQUEST_BYTES = 1024 * 1024 + ENVELOPE_BYTES
REPLY_BYTES = 8 * 1024 * 1024

# A list states its length ahead and msgpack 1.1 reserves room for it: a frame of 1 MiB made of nested headers
# reserved 7 GB and took 2.3 s (1.2 does not). With this bound it is refused at its first header.
REQUEST_ITEMS = 65_536


def pack(frame: Mapping[str, Any], limit_bytes: int = REPLY_BYTES) -> bytes:
    """Return `frame` as bytes with its length in front.

    Raises FrameTooLarge when it is over `limit_bytes`, InvalidText for text that is not UTF-8 (a lone
    surrogate), BadFrame for a value that msgpack does not know.
    """
    try:
        body: bytes = msgpack.packb(frame)
    except UnicodeEncodeError as error:
        raise InvalidText("the request holds text that is not UTF-8.", "Send it as bytes.") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise BadFrame(f"this does not fit into a frame: {error}.") from error
    return framed((body,), limit_bytes)


def framed(pieces: Sequence[bytes], limit_bytes: int = REPLY_BYTES) -> bytes:
    """Return a frame whose pieces are msgpack already, with its length in front. Raises FrameTooLarge."""
    size = sum(map(len, pieces))
    if size > limit_bytes:
        raise too_large(size, limit_bytes)
    return b"".join((size.to_bytes(HEADER_BYTES, "big"), *pieces))


def too_large(size_bytes: int, limit_bytes: int) -> FrameTooLarge:
    """Return the error for a frame of `size_bytes` where `limit_bytes` are allowed."""
    return FrameTooLarge(
        f"a frame of {size_bytes} bytes is over the limit of {limit_bytes}.", "Send less at once."
    )


class FrameReader:
    """Cut a stream of bytes, however it was split, into frames. After an error it stays broken.

    `limit_bytes` bounds the body of a frame, `limit_items` the length of any list or map in it.
    """

    __slots__ = ("_broken", "_buffer", "_limit_items", "limit_bytes")

    def __init__(self, limit_bytes: int = REPLY_BYTES, limit_items: int | None = None) -> None:
        self.limit_bytes = limit_bytes
        self._limit_items = limit_items
        self._buffer = bytearray()
        self._broken: BadFrame | FrameTooLarge | None = None

    def __repr__(self) -> str:
        return f"<FrameReader buffered={len(self._buffer)} broken={self._broken is not None}>"

    @property
    def partial(self) -> bool:
        """Whether bytes wait that no frame was made of yet."""
        return len(self._buffer) > 0

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of the stream."""
        if self._broken is None:
            self._buffer += data

    def next(self) -> dict[str, Any] | None:
        """Return the next whole frame, None when more bytes are needed. Raises BadFrame, FrameTooLarge."""
        if self._broken is not None:
            raise self._broken
        buffer = self._buffer
        if len(buffer) < HEADER_BYTES:
            return None
        size = int.from_bytes(buffer[:HEADER_BYTES], "big")
        if size > self.limit_bytes:
            raise self._break(too_large(size, self.limit_bytes))
        end = HEADER_BYTES + size
        if len(buffer) < end:
            return None
        body = bytes(memoryview(buffer)[HEADER_BYTES:end])
        del buffer[:end]
        return self._unpack(body)

    def _unpack(self, body: bytes) -> dict[str, Any]:
        items = len(body) if self._limit_items is None else min(len(body), self._limit_items)
        try:
            frame = msgpack.unpackb(body, max_array_len=items, max_map_len=items)
        except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
            # Only the kind: the text of a decoding error can hold a piece of the body.
            raise self._break(BadFrame(f"a frame is not msgpack ({type(error).__name__}).")) from error
        if not isinstance(frame, dict):
            raise self._break(BadFrame(f"a frame is not a map but {type(frame).__name__}."))
        return frame

    def _break(self, error: BadFrame | FrameTooLarge) -> BadFrame | FrameTooLarge:
        self._broken = error
        self._buffer.clear()
        return error


def hello(request_bytes: int | None = None, *, access: str = "") -> dict[str, Any]:
    """Return the first frame of either side.

    The daemon adds the largest request that it takes, and the access that the other side has. That one may ask for
    less than it could have: `read`, to be shown what is meant for others.
    """
    said: dict[str, Any] = {"proto": [PROTO_LOW, PROTO_HIGH], "version": VERSION}
    if request_bytes is not None:
        said["request_bytes"] = request_bytes
    if access:
        said["access"] = access
    return {"hello": said}


def check_hello(frame: Mapping[str, Any], *, us: str, them: str) -> dict[str, Any]:
    """Return what the other side said in its hello.

    `us` and `them` name the two programs in the sentence. Raises BadFrame when `frame` is no hello,
    ProtocolMismatch naming both sides when they share no version.
    """
    said = frame.get("hello")
    proto = said.get("proto") if isinstance(said, dict) else None
    if (
        not isinstance(said, dict)
        or not isinstance(proto, list)
        or len(proto) != 2
        or not all(type(bound) is int for bound in proto)
    ):
        raise BadFrame("the first frame is not a hello.")
    low, high = proto
    if max(low, PROTO_LOW) > min(high, PROTO_HIGH):
        older = us if high > PROTO_HIGH else them
        cure = "upgrade it, then: novactl down && novactl up" if older == DAEMON else "upgrade it"
        raise ProtocolMismatch(
            f"{us} {VERSION} speaks protocol {_span(PROTO_LOW, PROTO_HIGH)}, "
            f"{them} {str(said.get('version', '(no version)'))[:40]} speaks {_span(low, high)}.",
            f"{older[0].upper()}{older[1:]} is the older one: {cure}.",
        )
    return said


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"


def taken_bytes(said: Mapping[str, Any]) -> int:
    """Return the largest request that the daemon of this hello takes."""
    size = said.get("request_bytes")
    return size if type(size) is int else REQUEST_BYTES


def request(call_id: int, name: str, args: Mapping[str, Any] | None, *, more: bool) -> dict[str, Any]:
    """Return the frame that asks for a call; with `more` for a stream."""
    frame: dict[str, Any] = {"id": call_id, "call": name, "args": args or {}}
    if more:
        frame["more"] = True
    return frame


def answer(frame: Mapping[str, Any]) -> Any:
    """Return what an answer holds; raise the error that it reports."""
    if "err" in frame:
        err = frame["err"]
        raise from_wire(err if isinstance(err, dict) else {})
    return frame.get("ok")


def is_end(frame: Mapping[str, Any]) -> bool:
    """Whether this frame ends its stream."""
    return "err" in frame or frame.get("end") is True


def timed_out(name: str, limit_s: float) -> TimedOut:
    """Return the error for an answer that did not come in time."""
    return TimedOut(f"nova-torchd did not answer {name} within {limit_s:g} s.", "It may still be at work.")
