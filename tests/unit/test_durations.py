"""Durations are read as people write them, and nothing else is one."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_torch.durations import seconds, spoken
from nova_torch.errors import InvalidRequest


@pytest.mark.parametrize(
    ("text", "value"),
    [("500ms", 0.5), ("30s", 30), ("5m", 300), ("2h", 7200), ("1d", 86400), ("7", 7), (" 1.5 M ".strip(), 90)],
)  # fmt: skip
def test_a_duration_is_read(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "s", "-1s", "1y", "1 week", "nan", "inf", "1e999", "5m5s", "１s2"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        seconds(text)


@given(st.text())
def test_any_text_is_a_duration_or_is_refused(text: str) -> None:
    with contextlib.suppress(InvalidRequest):
        assert 0 <= seconds(text) < 1e10


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.85, "850ms"), (4.24, "4.2s"), (60, "60s"), (180, "3m"), (7200, "2h"), (432000, "5d")],
)
def test_a_duration_is_spoken_short(value: float, text: str) -> None:
    assert spoken(value) == text
