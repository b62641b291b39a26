from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nova_torch.errors import InvalidRequest, InvalidText
from noval_d.control.args import Args


def test_arguments_come_out_typed() -> None:
    args = Args(
        {"a": "x", "b": b"\xff", "c": "é", "n": 3, "f": 1.5, "t": True, "l": ["p", "q"], "m": {"k": 1}}
    )
    assert args.text("a") == "x"
    assert args.payload("b") == b"\xff"
    assert args.payload("c") == "é".encode()
    assert args.integer("n", least=3, most=3) == 3
    assert args.number("f") == 1.5
    assert args.number("n") == 3.0
    assert args.flag("t")
    assert args.texts("l") == ("p", "q")
    assert args.texts("a") == ("x",)
    assert args.mapping("m") == {"k": 1}
    assert args.choice("a", ("x", "y")) == "x"


def test_absent_and_nil_are_the_same() -> None:
    args = Args({"nil": None})
    for name in ("nil", "absent"):
        assert args.optional_text(name) is None
        assert args.optional_payload(name) is None
        assert args.optional_integer(name) is None
        assert args.optional_number(name) is None
        assert args.optional_choice(name, ("x",)) is None
        assert args.flag(name) is False
        assert args.texts(name) == ()
        assert args.mapping(name) == {}


@pytest.mark.parametrize(
    ("value", "read", "sentence"),
    [
        (None, lambda a: a.text("v"), "v is missing. It is a text."),
        ("", lambda a: a.text("v"), "v is empty. Give it a value or leave it out."),
        (1, lambda a: a.text("v"), "v must be a text, not an integer."),
        (b"x", lambda a: a.text("v"), "v must be a text, not bytes."),
        (True, lambda a: a.integer("v"), "v must be an integer, not true or false."),
        ("1", lambda a: a.integer("v"), "v must be an integer, not a text."),
        (0, lambda a: a.integer("v", least=1), "v is 0. It is 1 at least."),
        (9, lambda a: a.integer("v", most=8), "v is 9. It is 8 at most."),
        (float("nan"), lambda a: a.number("v"), "v is nan. It is a finite number."),
        (1, lambda a: a.flag("v"), "v must be true or false, not an integer."),
        ([1], lambda a: a.texts("v"), "v must be a list of texts, not a list."),
        ([], lambda a: a.mapping("v"), "v must be a map with texts as keys, not a list."),
        (3, lambda a: a.payload("v"), "v must be bytes or a text, not an integer."),
        ("hihg", lambda a: a.choice("v", ("high", "low")), "v is 'hihg'. Did you mean high?"),
        ("zzz", lambda a: a.choice("v", ("high", "low")), "v is 'zzz'. It is one of high, low."),
    ],
)
def test_a_wrong_argument_is_named_with_what_it_should_be(
    value: object, read: Callable[[Args], Any], sentence: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(Args({"v": value}))
    assert str(caught.value) == sentence


def test_a_payload_with_a_lone_surrogate_is_not_utf8() -> None:
    with pytest.raises(InvalidText):
        Args({"v": "\udcff"}).payload("v")
