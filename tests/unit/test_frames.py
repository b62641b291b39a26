from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_torch.errors import BadFrame, FrameTooLarge, InvalidText, NovaError, ProtocolMismatch, from_wire
from nova_torch.protocol import frames
from nova_torch.protocol.frames import FrameReader, check_hello, hello, pack
from nova_torch.version import VERSION
from noval_d.tmux.fields import BadFacts

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)
MAPS = st.dictionaries(st.text(), VALUES, max_size=5)


def read_all(reader: FrameReader) -> list[dict[str, Any]]:
    found = []
    while (frame := reader.next()) is not None:
        found.append(frame)
    return found


@given(MAPS)
def test_any_map_comes_back_as_it_was(frame: dict[str, Any]) -> None:
    reader = FrameReader()
    reader.feed(pack(frame))
    assert reader.next() == frame
    assert reader.next() is None
    assert not reader.partial


@given(st.lists(MAPS, max_size=4), st.lists(st.integers(1, 40), min_size=1))
def test_any_split_of_the_bytes_gives_the_same_frames(sent: list[dict[str, Any]], cuts: list[int]) -> None:
    data = b"".join(pack(frame) for frame in sent)
    reader, got, at, turn = FrameReader(), [], 0, 0
    while at < len(data):
        step = cuts[turn % len(cuts)]
        reader.feed(data[at : at + step])
        got += read_all(reader)
        at, turn = at + step, turn + 1
    assert got == sent
    assert not reader.partial


@given(st.binary(max_size=400), st.integers(0, 64))
def test_garbage_raises_nothing_but_the_errors_of_the_protocol(data: bytes, limit: int) -> None:
    for framed in (data, len(data).to_bytes(4, "big") + data):
        reader = FrameReader(limit)
        reader.feed(framed)
        try:
            read_all(reader)
        except (BadFrame, FrameTooLarge) as first:
            with pytest.raises(type(first)):
                reader.next()


@given(st.binary(max_size=200))
def test_msgpack_of_any_shape_raises_nothing_but_the_errors_of_the_protocol(tail: bytes) -> None:
    for head in (b"\x81", b"\xdf\x00\x00\x00\x02", b"\xc7\x0c\xff", b"\xd6\xff", b"\x81\x90", b"\x81\xa1a"):
        body = head + tail
        reader = FrameReader()
        reader.feed(len(body).to_bytes(4, "big") + body)
        try:
            reader.next()
        except BadFrame:
            continue


def test_a_frame_over_the_limit_is_refused_by_its_header_alone() -> None:
    reader = FrameReader(100)
    reader.feed((101).to_bytes(4, "big"))
    with pytest.raises(FrameTooLarge, match="101 bytes is over the limit of 100"):
        reader.next()


def test_a_frame_of_exactly_the_limit_passes() -> None:
    packed = pack({"body": b"x" * 90})
    reader = FrameReader(len(packed) - 4)
    reader.feed(packed)
    assert reader.next() == {"body": b"x" * 90}


def test_nested_headers_reserve_no_memory() -> None:
    body = b"\x81\xa1a" + b"\xdd\x00\x0d\xbb\xa0" * 1000 + b"\xc0" * 1_000_000
    reader = FrameReader(frames.REQUEST_BYTES, frames.REQUEST_ITEMS)
    reader.feed(len(body).to_bytes(4, "big") + body)
    with pytest.raises(BadFrame):
        reader.next()


@pytest.mark.parametrize("value", [[1], "text", 7, None, True])
def test_what_is_no_map_is_a_bad_frame(value: object) -> None:
    body: bytes = msgpack.packb(value)
    reader = FrameReader()
    reader.feed(len(body).to_bytes(4, "big") + body)
    with pytest.raises(BadFrame, match="is not a map"):
        reader.next()


def test_packing_says_what_does_not_fit() -> None:
    with pytest.raises(FrameTooLarge):
        pack({"body": b"x" * 101}, 100)
    with pytest.raises(BadFrame):
        pack({"body": object()})
    with pytest.raises(BadFrame):
        pack({"number": 2**64})
    with pytest.raises(InvalidText):
        pack({"text": "\udcff"})


def test_the_text_of_a_body_is_never_in_the_error() -> None:
    body = b"\x81\xa1a\xaasecret\xff\xff\xff\xff"
    reader = FrameReader()
    reader.feed(len(body).to_bytes(4, "big") + body)
    with pytest.raises(BadFrame) as caught:
        reader.next()
    assert "secret" not in str(caught.value)


def test_two_hellos_of_the_same_release_agree() -> None:
    assert check_hello(hello(5), us="a", them="b")["request_bytes"] == 5


def test_a_mismatch_names_both_sides() -> None:
    with pytest.raises(ProtocolMismatch) as caught:
        check_hello({"hello": {"proto": [3, 4], "version": "9.9.9"}}, us="novactl", them="nova-torchd")
    assert caught.value.message == (f"novactl {VERSION} speaks protocol 1, nova-torchd 9.9.9 speaks 3 to 4.")
    assert caught.value.hint == "Novactl is the older one: upgrade it."
    assert caught.value.exit_code == 8


@pytest.mark.parametrize(
    ("proto", "them", "cure"),
    [
        ([2, 2], "nova-torchd", "This program is the older one: upgrade it."),
        (
            [0, 0],
            "nova-torchd",
            "Nova-torchd is the older one: upgrade it, then: novactl down && novactl up.",
        ),
        ([0, 0], "the program", "The program is the older one: upgrade it."),
    ],
)
def test_a_mismatch_says_which_side_to_upgrade(proto: list[int], them: str, cure: str) -> None:
    with pytest.raises(ProtocolMismatch) as caught:
        check_hello({"hello": {"proto": proto, "version": "9.9.9"}}, us="this program", them=them)
    assert caught.value.hint == cure


@given(st.dictionaries(st.sampled_from(["hello", "id"]), VALUES))
def test_a_hello_of_any_shape_raises_nothing_but_the_errors_of_the_protocol(frame: dict[str, Any]) -> None:
    try:
        check_hello(frame, us="a", them="b")
    except (BadFrame, ProtocolMismatch):
        return


@given(st.integers(), st.integers(), VALUES)
def test_versions_of_any_kind_can_be_named(low: int, high: int, version: object) -> None:
    try:
        check_hello({"hello": {"proto": [low, high], "version": version}}, us="a", them="b")
    except ProtocolMismatch:
        assert not low <= 1 <= high


def test_every_error_comes_over_the_wire_as_one_of_its_code_whoever_is_loaded() -> None:
    def tree(root: type[NovaError]) -> list[type[NovaError]]:
        return [root, *(kind for child in root.__subclasses__() for kind in tree(child))]

    assert BadFacts in tree(NovaError)  # it takes no sentence, and has its parent's code
    for kind in tree(NovaError):
        made = from_wire({"code": kind.code, "message": "what happened.", "hint": "what helps."})
        assert (made.code, made.message, made.hint) == (kind.code, "what happened.", "what helps.")
        assert issubclass(kind, type(made))
