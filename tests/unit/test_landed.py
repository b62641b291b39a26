from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noval_d.agents.sight import Sight, guard_text, is_mixed, is_typed_behind, landed, look
from noval_d.tmux.screen import parse_screen
from tests.support.screens import CLAUDE, CLAUDE_SCREENS

SPREAD = "a text that begins like this, goes on, and then ends like that "


def seen(name: str) -> Sight:
    return look(CLAUDE, CLAUDE_SCREENS[name].screen)


def typed_into(composer: str) -> Sight:
    assert CLAUDE.marker is not None
    return Sight(composer=composer, pasted=bool(CLAUDE.marker.search(composer)))


@pytest.mark.parametrize(
    ("typed", "composer"),
    [
        ("x ", "x"),
        (". ", "."),
        ("?!... ", "?!..."),
        ("👍 ", "👍"),
        ("😀\u200d👩 ☎\ufe0f ", "😀👩 ☎"),
        ("a\tb\n\tc ", "a    b\n    c"),
        ("e\u0301te\u0301 in the summer ", "été in the summer"),
        ("word " * 100, "\n".join(["word " * 38] * 2 + ["word " * 24])),
        ("x" * 450 + " ", "\n".join(["x" * 190] * 2 + ["x" * 70])),
        ("नमस्ते दुनिया यह एक परीक्षण है ", "नमसत दनय यह एक परकषण ह"),
        ("text \U0001fae8 with a picture ", "text  with a picture"),
        ("__init__ and others ", "__init__ and others"),
        ("\n".join(f"line {n}" for n in range(20)) + " ", "[Pasted text #3 +19 lines]"),
        ("long " * 400, "[Pasted text #12]"),
        ("[Pasted text #1 +3 lines] ", "[Pasted text #1 +3 lines]"),
        ("ends with \\ ", "ends with \\"),
        ("/clear ", "/clear  [name]"),
    ],
)
def test_a_text_is_seen_to_have_landed(typed: str, composer: str) -> None:
    assert landed(CLAUDE, typed_into(composer), typed)


@pytest.mark.parametrize(
    ("typed", "composer"),
    [
        ("x ", ""),
        ("x ", "fix a draft"),
        ("👍 ", "👎"),
        ("👍 ", "fine 👍"),
        ("ok ", "it is ok so far"),
        ("/clear ", "/clear it all"),
        ("/clear ", "/clear [name] it"),
        ("ok ", "ok [name]"),
        ("a longer message to the agent ", "something else that is long"),
        ("a longer message to the agent ", "a longer mess"),
        ("one\ntwo\nthree\nfour ", "[Pasted text #3 +19 lines]"),
        ("one line ", "[Pasted text #3 +1 lines]"),
        ("one\ntwo\nthree\nfour ", "[Pasted text #3]"),
    ],
)
def test_another_text_is_not_taken_for_ours(typed: str, composer: str) -> None:
    assert not landed(CLAUDE, typed_into(composer), typed)


@pytest.mark.parametrize(
    ("typed", "composer", "mixed"),
    [
        ("ours ", "ours", False),
        ("ours ", "ours and theirs", True),
        ("ours ", "theirs, ours", True),
        ("", "theirs", False),
        ("ours, of many words ", "ours, of many", False),
        ("ours, of many words ", "ours, of\n  many words", False),
        ("/clear ", "/clear  [name]", False),
        ("one\ntwo\nthree\nfour ", "[Pasted text #3 +3 lines]", False),
        ("one\ntwo\nthree\nfour ", "[Pasted text #3 +3 lines] and theirs", True),
        ("one\ntwo\nthree\nfour ", "theirs", False),
        ("one\ntwo\nthree\nfour ", "[Pasted text #3 +3 lines][Pasted text #4 +9 lines]", True),
        ("👍 ", "👍", False),
        ("👍 ", "👍 and theirs", True),
        ("word " * 40, "word " * 9, False),
        (
            SPREAD,
            "goes on, and then ends like that",
            False,
        ),
        (
            SPREAD,
            "then ends like that, theirs",
            True,
        ),
        (
            SPREAD,
            "theirs a text that begins like this, goes on",
            True,
        ),
        (
            SPREAD,
            "a text that begins like this, or theirs, goes on, and then ends like that",
            True,
        ),
        ("नमस्ते दुनिया यह एक परीक्षण है ", "नमसत दनय यह एक परकषण ह", False),
        ("text \U0001fae8 with a picture ", "text  with a picture", False),
        ("a\ttab and some more words here ", "a^Itab and some more words here", False),
        ("a\ttab and some more words here ", "a^Itab and some more words here, theirs", True),
    ],
)
def test_what_somebody_types_beside_our_text_is_seen(typed: str, composer: str, mixed: bool) -> None:
    assert is_mixed(CLAUDE, typed_into(composer), typed) is mixed


@pytest.mark.parametrize(
    ("row", "cursor", "behind"),
    [
        ("> hello there", 13, False),
        ("> hello there, theirs", 21, True),
        ("> hello there   | a hint", 13, False),
        ("> 你好 hello there", 18, False),
        ("> 你好 hello there!", 19, True),
        ("> something else", 16, False),
        ("", 0, False),
    ],
)
def test_what_comes_behind_our_text_before_the_cursor_is_seen(row: str, cursor: int, behind: bool) -> None:
    screen = parse_screen([row.encode()], cursor_x=cursor, cursor_y=0, cursor_visible=True)
    assert is_typed_behind(screen, "hello there") is behind
    assert not is_typed_behind(replace(screen, cursor_visible=False), "hello there")


def test_what_stands_in_the_transcript_alone_has_not_landed() -> None:
    assert "hello there" in CLAUDE_SCREENS["idle_after_output"].screen.bottom(50)
    assert not landed(CLAUDE, seen("idle_after_output"), "hello there ")


def test_a_text_taller_than_the_pane_has_landed_when_its_end_shows() -> None:
    typed = "word%03d " * 9 % tuple(range(9)) * 9
    assert seen("draft_taller_than_pane").cut
    assert landed(CLAUDE, seen("draft_taller_than_pane"), typed)
    assert not landed(CLAUDE, seen("draft_taller_than_pane"), typed.replace("word", "text"))


def test_recorded_pastes_have_landed() -> None:
    lines = "\n".join(f"line {n}" for n in range(20))
    assert landed(CLAUDE, seen("pasted_marker"), lines)
    assert landed(CLAUDE, seen("pasted_marker_long_line"), "long words " * 90 + " ")
    assert landed(CLAUDE, seen("draft_many_lines"), "first line\nsecond line\n third line")
    assert landed(CLAUDE, seen("ghost_suggestion_pasted"), "[nova] over a suggestion ")
    assert not landed(CLAUDE, seen("permission_bash_after_paste"), "[nova] pasted into a dialog ")


def test_nothing_has_landed_where_no_composer_is() -> None:
    assert not landed(CLAUDE, Sight(composer=None), "text")


@given(st.text(st.characters(exclude_categories=["C"]), min_size=1), st.integers(10, 200))
def test_a_text_wrapped_at_any_width_has_landed(text: str, width: int) -> None:
    typed = "[nova] " + text + " "
    rows = [typed[start : start + width] for start in range(0, len(typed), width)]
    assert landed(CLAUDE, Sight(composer="\n".join(row.rstrip() for row in rows)), typed)


@pytest.mark.parametrize(
    ("typed", "composer", "piece"),
    [
        ("hello world ", "hello world", "hello world"),
        ("a\tlong tab ", "a    long tab", "long tab"),
        ("'$(x) #{C:x}, {y} there ", "'$(x) #{C:x}, {y} there", "there"),
        ("x" * 450 + " ", "\n".join(["x" * 190] * 2 + ["x" * 70]), "x" * 40),
        ("hello world ", "a draft hello world", "hello world"),
        ("line\n" * 20, "[Pasted text #3 +20 lines]", "Pasted text"),
        ("👍 ", "👍", None),
        ("漢字", "漢字", None),
        ("x ", "", None),
    ],
)
def test_the_guard_is_a_plain_piece_of_what_was_typed(typed: str, composer: str, piece: str | None) -> None:
    assert guard_text(typed_into(composer), typed) == piece


@given(st.text(), st.text())
def test_a_guard_means_nothing_to_formats_and_patterns_of_tmux(typed: str, composer: str) -> None:
    piece = guard_text(Sight(composer=composer), typed)
    assert piece is None or re.fullmatch(r"[A-Za-z0-9_.-](?:[A-Za-z0-9 _.-]{0,38}[A-Za-z0-9_.-])?", piece)
    assert piece is None or piece in composer
