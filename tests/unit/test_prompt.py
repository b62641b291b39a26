"""A draft behind a known prompt of a line-based program is seen, and nothing else is taken for one."""

from __future__ import annotations

import pytest

from noval_d.agents.prompt import Prompt, before_cursor
from noval_d.tmux.screen import parse_screen


def known(prompt: str, text: str = "hello") -> Prompt:
    made = Prompt()
    made.typed_at(prompt, text)
    made.typed_at(prompt, text)
    return made


@pytest.mark.parametrize(
    "prompt", ["$ ", ">>> ", "user@host:~/x$ ", "sqlite> ", "❯ ", "host% ", "root# ", ">"]
)
def test_what_stands_behind_a_known_prompt_is_a_draft(prompt: str) -> None:
    made = known(prompt)
    assert made.shown(prompt)
    assert made.behind(prompt) == ""
    assert made.behind(prompt + "git comm") == "git comm"
    assert made.behind(prompt + "   ") == ""
    assert not made.shown(prompt + "g")


@pytest.mark.parametrize(
    "line", ["", "Working...", "done 34% ", "In [3]: ", "Name: ", "[====", "(Pdb) ", "34%"]
)
def test_what_does_not_end_like_a_prompt_is_never_one(line: str) -> None:
    made = known(line)
    assert made.known == ""
    assert made.behind(line + "more") == ""
    assert not made.shown(line)


def test_a_prompt_is_known_when_it_was_seen_twice_in_a_row() -> None:
    made = Prompt()
    for prompt in ("~/a$ ", "~/b$ ", "~/c$ "):
        made.typed_at(prompt, "ls")
        assert made.behind(prompt + "text") == ""
    made.typed_at("~/c$ ", "ls")
    assert made.behind("~/c$ text") == "text"
    assert made.behind("~/d$ text") == ""  # another prompt: not known yet
    made.typed_at("~/d$ ", "ls")
    assert made.behind("~/d$ text") == ""
    made.forget()
    assert made.behind("~/c$ text") == ""


def test_our_own_text_that_is_still_shown_is_nobodys_draft() -> None:
    made = known("> ", "first line\nsecond")
    for shown in ("> first line", "> fir", "> second"):
        assert made.behind(shown) == ""
    assert made.behind("> first line and more") == "first line and more"


def test_the_text_left_of_the_cursor_is_read_by_columns() -> None:
    screen = parse_screen(
        [b"above", "$ \x1b[1m日本\x1b[0mx suggested".encode()], cursor_x=7, cursor_y=1, cursor_visible=True
    )
    assert before_cursor(screen) == "$ 日本x"
    for x, y, text in ((2, 1, "$ "), (0, 1, ""), (3, 9, ""), (8, 0, "above   ")):
        moved = parse_screen([b"above", b"$ x"], cursor_x=x, cursor_y=y, cursor_visible=True)
        assert before_cursor(moved) == text
