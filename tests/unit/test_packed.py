"""What is msgpack already goes into a map as what it is."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_torch.packed import Packed, pack_list, pack_map

VALUES = st.none() | st.integers(0, 9) | st.text(max_size=3) | st.lists(st.integers(0, 9), max_size=3)


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=40), st.lists(VALUES, max_size=40))
def test_a_map_with_packed_parts_is_the_map_that_is_packed_at_once(
    fields: dict[str, object], items: list[object]
) -> None:
    listed = pack_list([msgpack.packb(item) for item in items])
    inner = {**fields, "items": listed}
    outer = pack_map({"id": 1, "ok": pack_map(inner)})
    assert bytes(outer) == msgpack.packb({"id": 1, "ok": {**fields, "items": items}})


def test_nothing_else_takes_a_packed_value_for_bytes() -> None:
    with pytest.raises(TypeError):
        msgpack.packb({"ok": Packed(b"\x01")})
    assert repr(Packed(b"\x01")) == "<Packed 1 bytes>"
