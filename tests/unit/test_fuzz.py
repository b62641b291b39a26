"""What reads bytes of others raises nothing, hangs nowhere and keeps nothing, whatever the bytes."""

from __future__ import annotations

import gc
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, samples

UGLY = {
    "nothing": b"",
    "zeros": b"\0" * 64,
    "lone surrogate": b'{"payload": "\\ud800", "prompt": "\\udfff"}',
    "deep json": b"[" * 100_000,
    "deep objects": b'{"a":' * 20_000,
    "deep msgpack": b"\x91" * 30_000,
    "deep toml": b"x = " + b"[" * 30_000,
    "a number too long": b"1" * 60_000,
    "a huge float": b'{"at_ms":1, "x": 1e999999}',
    "a wild timestamp": b"\xc7\x0c\xff" + b"\xff" * 12,
    "a lying length": b"\xdd\xff\xff\xff\xff",
    "a wrong kind inside": b'{"info": {"id": "msg", "role": "user"}, "parts": 5}',
    "no utf-8": b"\xff\xfe" * 100,
}  # fmt: skip
EXAMPLES = 25  # for each target, beside the samples; `make fuzz` goes on from there


def changed(sample: bytes, changes: list[tuple[int, bytes]]) -> bytes:
    """Overwrite, insert and cut in a sample."""
    data = bytearray(sample)
    for at, piece in changes:
        place = at % (len(data) + 1)
        if at & 1:
            data[place : place + len(piece)] = piece
        else:
            data[place:place] = piece
    return bytes(data)


CHANGES = st.lists(st.tuples(st.integers(0, 5000), st.binary(max_size=6)), max_size=6)


@pytest.mark.parametrize("name", TARGETS)
def test_every_sample_every_crasher_of_the_past_and_what_breaks_parsers(name: str) -> None:
    for data in (*samples(name), *UGLY.values()):
        TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes(name: str) -> None:
    known = samples(name)

    @settings(max_examples=EXAMPLES, deadline=5000, database=None)
    @given(st.binary(max_size=600) | st.builds(changed, st.sampled_from(known), CHANGES))
    def holds(data: bytes) -> None:
        TARGETS[name](data)

    holds()


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_kept_of_what_was_read(name: str) -> None:
    target, known = TARGETS[name], samples(name)[:3]

    def rounds(count: int) -> None:
        for _ in range(count):
            for data in known:
                target(data)
        gc.collect()

    tracemalloc.start()
    try:
        rounds(3)  # what is read once and cached
        before = tracemalloc.get_traced_memory()[0]
        rounds(10)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 32 << 10, f"{grown} bytes after ten more rounds"
