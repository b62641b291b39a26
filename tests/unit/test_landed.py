from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noval_d.agents.sight import Sight, guard_text, landed, look
from tests.support.screens import CLAUDE, CLAUDE_SCREENS


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
