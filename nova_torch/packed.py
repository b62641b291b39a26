"""Put maps together of parts that are msgpack already. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgpack


class Packed:
    """A value that is msgpack already; only `pack_map` takes it."""

    __slots__ = ("body",)

    def __init__(self, body: bytes) -> None:
        self.body = body

    def __repr__(self) -> str:
        return f"<Packed {len(self.body)} bytes>"


def pack_list(items: Sequence[bytes]) -> Packed:
    """Return a list of items that are packed."""
    return Packed(b"".join((msgpack.Packer().pack_array_header(len(items)), *items)))


def pack_map(fields: Mapping[str, object]) -> bytes:
    """Return a map, some of whose values may be `Packed`; raises what msgpack raises for those that are not."""
    parts: list[bytes] = [msgpack.Packer().pack_map_header(len(fields))]
    for name, value in fields.items():
        parts += (msgpack.packb(name), value.body if isinstance(value, Packed) else msgpack.packb(value))
    return b"".join(parts)
