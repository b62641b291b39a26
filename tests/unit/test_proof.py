"""A hook's prompt proves exactly the texts that it holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noval_d.delivery.proof import matched

LONG = "a text that is long enough to be told from any other"


@pytest.mark.parametrize(
    ("prompt", "typed", "found"),
    [
        ("hello", ["hello"], (0,)),
        ("hello", ["other", "hello"], (1,)),
        ("hello there", ["hello  there "], (0,)),
        ("a\nb", ["a", "b"], (0, 1)),
        ("ab", ["x", "a", "b"], (1, 2)),
        ("hello", ["hello", "hello"], (0,)),
        ("hello there", ["hello"], ()),
        (f"my draft {LONG}", [LONG], (0,)),
        (f"{LONG} {LONG} my draft", [LONG, LONG], (0, 1)),
        ("something else", [LONG, "hello"], ()),
        ("", ["hello"], ()),
        ("hello", [], ()),
        ("e\u0301te\u0301", ["\u00e9t\u00e9"], (0,)),
    ],
)
def test_a_prompt_proves_what_it_holds(prompt: str, typed: list[str], found: tuple[int, ...]) -> None:
    proven = matched(prompt, typed)
    assert proven.indexes == found
    assert proven.beside is ("my draft" in prompt)


words = st.text(st.sampled_from("abc "), min_size=1, max_size=4).filter(str.strip)


@given(st.lists(words, min_size=1, max_size=5))
def test_a_text_alone_is_proven_and_nothing_short_beside_it(typed: list[str]) -> None:
    for text in typed:
        found = matched(text, typed).indexes
        assert found
        assert "".join("".join(typed[index].split()) for index in found) == "".join(text.split())
