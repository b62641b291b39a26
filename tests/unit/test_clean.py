"""Bodies are cleaned and checked before any terminal sees them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_torch.clean import checked_body, clean
from nova_torch.errors import BodyEmpty, BodyTooLarge, InvalidText

FORBIDDEN = {chr(code) for code in [*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0)]}
awkward = st.text(st.characters() | st.sampled_from([*sorted(FORBIDDEN), "\t", "\n"]))


@given(awkward)
def test_nothing_is_left_that_a_terminal_would_obey(body: str) -> None:
    assert not FORBIDDEN & set(clean(body))


@given(awkward)
def test_cleaning_twice_changes_nothing(body: str) -> None:
    assert clean(clean(body)) == clean(body)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]) | st.sampled_from(["\t", "\n"])))
def test_ordinary_text_is_left_as_it_is(body: str) -> None:
    assert clean(body) == body


def test_every_kind_of_line_end_becomes_a_line_feed() -> None:
    assert clean("a\r\nb\rc\nd\r\r\n") == "a\nb\nc\nd\n\n"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"\xff", InvalidText), ("\ud800", InvalidText), ("", BodyEmpty), (" \t\n", BodyEmpty),
        ("\x00\x1b", BodyEmpty), ("é" * 6, BodyTooLarge), (b"x" * 11, BodyTooLarge),
    ],
)  # fmt: skip
def test_what_cannot_be_a_body_is_named(body: str | bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        checked_body(body, max_bytes=10)


def test_the_limit_itself_is_allowed() -> None:
    assert checked_body("x" * 10, max_bytes=10) == "x" * 10
    assert checked_body("é".encode() * 5, max_bytes=10) == "é" * 5
