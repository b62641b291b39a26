"""Put maps together of parts that are msgpack already. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgpack


class Packed:
    """A value that is msgpack already, in pieces: a large answer is put together once, when it goes out."""

    __slots__ = ("pieces",)

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces

    def __repr__(self) -> str:
        return f"<Packed {sum(map(len, self.pieces))} bytes>"

    def __bytes__(self) -> bytes:
        return b"".join(self.pieces)


def pack_list(items: Sequence[bytes]) -> Packed:
    """Return a list of items that are packed."""
    return Packed(msgpack.Packer().pack_array_header(len(items)), *items)


def pack_map(fields: Mapping[str, object]) -> Packed:
    """Return a map, some of whose values may be `Packed`; raises what msgpack raises for those that are not."""
    pieces: list[bytes] = [msgpack.Packer().pack_map_header(len(fields))]
    for name, value in fields.items():
        pieces.append(msgpack.packb(name))
        pieces += value.pieces if isinstance(value, Packed) else (msgpack.packb(value),)
    return Packed(*pieces)
