"""A draft behind the prompt of a line-based program is seen, and nothing is held without end that may be none."""

from __future__ import annotations

import pytest

from noval_d.agents.driver_file import load_drivers
from noval_d.agents.prompt import (
    Prompt,
    Spot,
    is_line,
    perhaps_typed,
    read_prompt,
    spot_of,
    unlearned,
    write_prompt,
)
from noval_d.tmux.screen import Screen, parse_screen

LINE = load_drivers()["line"]
REST, UNSURE = LINE.prompt_rests_s, LINE.prompt_unsure_s
EVER = 1e6


class Pane:
    """A line-based program, its cursor and a clock; `prompt` is what is learned of it."""

    def __init__(self, *, editing: bool = True) -> None:
        self.prompt, self.now, self.row, self.editing = Prompt(), 100.0, 0, editing
        self.line = self.under = ""
        self.above: tuple[str, ...] = ()

    @property
    def spot(self) -> Spot:
        return Spot(line=self.line, row=self.row, editing=self.editing, under=self.under, above=self.above)

    def shows(self, line: str, *, row: int | None = None, editing: bool | None = None) -> Pane:
        """Show `line` before the cursor, and be looked at a little later."""
        self.line = line
        self.row = self.row if row is None else row
        self.editing = self.editing if editing is None else editing
        self.now += 0.01
        self.prompt.saw(LINE, self.spot, self.now)
        return self

    def rests(self, line: str, *, row: int | None = None, editing: bool | None = None) -> Pane:
        """Show `line` for long enough."""
        self.shows(line, row=row, editing=editing)
        self.now += 1.1 * REST
        self.prompt.saw(LINE, self.spot, self.now)
        return self

    def types(self, text: str = "hello") -> Pane:
        """Let a message be typed, whose line and answer take two rows."""
        self.prompt.typed_at(LINE, self.spot, text)
        self.row += 2
        return self

    def draft(self, after_s: float = 0.0) -> str:
        return self.prompt.behind(LINE, self.spot, self.now + after_s)

    @property
    def shown(self) -> bool:
        return self.prompt.shown(LINE, self.spot)


def known(prompt: str, text: str = "hello", *, editing: bool = True) -> Pane:
    return Pane(editing=editing).shows(prompt).types(text).shows(prompt).types(text)


@pytest.mark.parametrize("editing", [True, False])
@pytest.mark.parametrize(
    "prompt", ["$ ", ">>> ", "user@host:~/x$ ", "sqlite> ", "❯ ", "host% ", "root# ", ">"]
)
def test_what_stands_behind_a_known_prompt_is_a_draft(prompt: str, *, editing: bool) -> None:
    made = known(prompt, editing=editing)
    assert made.shows(prompt).shown
    assert made.draft() == ""
    assert made.shows(prompt + "git comm").draft(EVER) == "git comm"
    assert not made.shown
    assert made.shows(prompt + "   ").draft() == ""


def test_a_prompt_that_was_seen_once_holds_for_a_while() -> None:
    made = Pane(editing=False).rests("$ ", row=1)
    assert made.shows("$ ls", row=4).draft() == "ls"  # it has not rested in this row
    assert made.draft(UNSURE) == ""
    assert made.shows("$ (main) > ", row=4).draft() == ""


def test_behind_an_empty_prompt_anything_may_be_typed() -> None:
    made = known("", editing=False)
    assert made.shows("abc").draft() == "abc"
    assert made.draft(UNSURE) == ""
    assert made.rests("def", row=9).draft() == "def"  # typed before the row was seen empty
    assert made.shows("Name: ").draft() == ""
    assert made.shows("x", editing=True).draft() == ""
    assert Pane(editing=False).shows("").types().shows("hel").draft() == ""  # once is no proof
    made = Pane(editing=False).shows("> ").types().shows("").types().shows("").types()
    assert made.shows("working").draft() == ""  # it has a prompt, and works


@pytest.mark.parametrize("line", ["Working...", "done 34% ", "[====", "34%"])
def test_what_does_not_end_like_a_prompt_is_never_a_known_one(line: str) -> None:
    made = known(line)
    assert made.prompt.known == ""
    assert made.shows(line + "more").draft() == ""
    assert not made.shown


@pytest.mark.parametrize("prompt", ["In [{}]: ", "[12:0{}] $ ", "(Pdb) ", "mysql/{}> "])
def test_a_prompt_that_counts_is_known_by_its_shape(prompt: str) -> None:
    made = Pane().shows(prompt.format(1)).types().shows(prompt.format(2)).types()
    assert made.shows(prompt.format(3)).shown
    assert made.shows(prompt.format(14) + "x = 1").draft(EVER) == "x = 1"


def test_a_prompt_of_a_usual_end_that_is_buffered_by_the_terminal_is_held_for_a_while_only() -> None:
    """`Name: ` twice; then a program prints more behind it and waits there."""
    made = known("Name: ", editing=False)
    assert made.shows("Name: Jo").draft() == "Jo"
    assert made.draft(UNSURE) == ""


def test_a_prompt_is_known_when_it_was_seen_twice_in_a_row() -> None:
    made = Pane()
    for prompt in ("~/a$ ", "~/b> ", "~/c# "):
        made.shows(prompt).types("ls")
        assert made.shows(prompt + "text").draft(UNSURE) == ""  # once is no proof
    made.shows("~/c# ").types("ls")
    assert made.shows("~/c# text").draft(EVER) == "text"
    assert made.shows("~/d# text").draft() == ""  # another prompt: not known yet


def test_the_prompt_is_known_from_what_rests_in_new_rows_before_any_message() -> None:
    made = Pane().rests("~/a$ ", row=1)
    assert made.shows("~/a$ ls").draft() == "ls"
    assert made.draft(UNSURE) == ""  # once is no proof
    made.rests("~/a$ ", row=3)
    assert made.shows("~/a$ ls").draft(EVER) == "ls"


def test_another_directory_in_a_new_row_is_the_known_prompt_from_then_on() -> None:
    made = Pane().rests("~/a$ ", row=1).rests("~/a$ ", row=3).rests("~/b/c$ ", row=5)
    assert made.shown
    assert made.shows("~/b/c$ make").draft(EVER) == "make"


def test_one_that_rests_in_a_row_again_is_not_taken_for_two() -> None:
    made = Pane().rests("host> ", row=1)
    made.shows("host> x").rests("host> ")
    assert made.shows("host> (main) $ ").draft() == ""


@pytest.mark.parametrize("prompt", ["➜  ~ ", "Name: ", "> ", "", "~/a (main) ", "[y/N] "])
def test_what_comes_behind_the_first_rest_of_a_row_is_a_draft_for_a_while(prompt: str) -> None:
    for editing in (True, False):
        made = Pane(editing=editing).rests(prompt, row=4)
        assert made.draft() == ""
        assert made.shows(prompt + "hel").draft() == "hel"
        made.now += UNSURE - 1
        assert made.shows(prompt + "hell").draft() == "hell"  # somebody types
        assert made.draft(UNSURE) == ""


def test_a_program_that_works_and_prints_is_not_waited_for() -> None:
    made = Pane(editing=False).rests("Compiling", row=4)
    assert made.shows("Compiling.....").draft() == ""
    assert not Pane(editing=False).rests("Compiling").shown
    made = Pane(editing=False).rests("", row=6)
    assert made.shows("Your name: ").draft() == ""  # it ends like a question
    assert made.shows("$ ", editing=True).draft() == ""  # it has begun to read by itself
    assert made.shows("In [4]").draft() == ""
    made = Pane().rests("10%").shows("11%")
    assert made.draft() == ""  # written over
    made = Pane().rests("host:").shows("host: (main) $ ")
    assert made.draft() == ""  # a prompt that comes in two pieces


def test_where_a_message_was_typed_nothing_unsure_holds_the_next_one() -> None:
    """A prompt that comes in two pieces, of which the first one rests: one message waits, not each."""
    made = Pane()
    for row, expected in ((1, "->  main"), (3, ""), (5, "")):
        made.rests("host:", row=row).rests("host: ->  main")
        assert made.draft() == expected
        made.prompt.typed_at(LINE, made.spot, "ls")


def test_a_draft_that_stood_there_when_the_program_was_registered_is_seen() -> None:
    made = Pane().rests(">>> 1 + ", row=3)
    assert made.draft() == ""  # it may be `→ ~/directory `
    made = Pane().rests(">>> 1 +", row=3)
    assert made.draft() == "1 +"
    assert made.draft(UNSURE) == ""


def test_a_draft_that_is_wrapped_is_still_one() -> None:
    made = Pane().rests("$ ", row=7)
    made.above = ("x" * 20, "$ " + "y" * 18)
    made.shows("yy", row=8)
    assert made.draft() == "y" * 20
    made.rests("yy")
    assert made.draft() == "y" * 20
    made.above = ("$ " + "y" * 18, "y" * 20)
    assert made.shows("", row=9).draft() == "y" * 38
    made.above = ()
    assert made.rests("$ ", row=11).draft() == ""


def test_a_draft_whose_beginning_the_cursor_was_moved_back_to_is_still_one() -> None:
    made = Pane().rests("$ ", row=1)
    made.shows("$ ls -l")
    made.under = "ls"
    assert made.shows("$ ").draft() == "ls"
    assert not made.shown
    assert made.draft(UNSURE) == ""
    made.under = "suggested"
    made.rests("$ ", row=3)
    assert made.draft() == ""  # it stood there from the beginning


def test_our_own_text_that_is_still_shown_is_nobodys_draft() -> None:
    made = known("> ", "first line\nsecond")
    for shown in ("> first line", "> fir", "> second"):
        assert made.shows(shown).draft() == ""
    assert made.shows("> first line and more").draft() == "first line and more"


def test_when_to_look_again_is_known() -> None:
    made = Pane()
    assert made.prompt.rests_at(LINE) > EVER
    made.shows("a")
    assert made.prompt.rests_at(LINE) == pytest.approx(made.now + REST)
    made.shows("b")  # it goes on: tmux tells of it, too
    assert made.prompt.rests_at(LINE) > made.now + REST
    made.rests("b")
    assert made.prompt.rests_at(LINE) > EVER
    made.prompt.away()
    assert made.prompt.rests_at(LINE) > EVER


@pytest.mark.parametrize(
    ("line", "half"),
    [
        ("user@host:~$ ", ""), ("user@host:~$ ls -l", "ls -l"), ("root# make", "make"), ("~/a # main $ ", ""),
        ("❯ git", "git"), ("no prompt that is known", ""), ("你好% x", "x"),
    ],
)  # fmt: skip
def test_a_shells_draft_is_what_stands_behind_a_usual_prompt(line: str, half: str) -> None:
    columns = sum(2 if char in "你好" else 1 for char in line)
    for y, expected in ((0, half), (7, "")):
        screen = parse_screen([f"{line}   ghost".encode()], cursor_x=columns, cursor_y=y, cursor_visible=True)
        assert unlearned(screen, at(screen), shell=True) == expected


def at(screen: Screen, *, editing: bool = True) -> Spot:
    return spot_of(screen, width=80, history_rows=0, editing=editing)


def screen_of(*rows: str, below: str = "", visible: bool = True) -> Screen:
    """The cursor stands behind the last of `rows`."""
    shown = [row.encode() for row in (*rows, below)]
    return parse_screen(shown, cursor_x=len(rows[-1]), cursor_y=len(rows) - 1, cursor_visible=visible)


@pytest.mark.parametrize(
    ("rows", "half", "buffered"),
    [
        ([">>> a > b"], "a > b", ""), (["> "], "", ""), (["→ ~/b "], "", ""), (["34% done"], "", ""),
        (["In [3]: x"], "", ""), (["In [2]: y", "8", "In [3]: x"], "x", "x"), (["a>b", "a>b"], "", ""),
        (["Name: Ann", "Name: Jo"], "Jo", "Jo"), (["Name: Ann", "Name: "], "", ""), (["me> a", "me> b"], "b", "b"),
    ],
)  # fmt: skip
def test_another_programs_draft_is_told_by_a_usual_end_or_by_rows_above(
    rows: list[str], half: str, buffered: str
) -> None:
    screen = screen_of(*rows)
    assert unlearned(screen, at(screen), shell=False) == half
    assert unlearned(screen, at(screen, editing=False), shell=False) == buffered


@pytest.mark.parametrize(
    ("screen", "expected"),
    [
        (screen_of(">>> "), True), (screen_of(""), True), (screen_of("old", "In [3]: "), True),
        (screen_of(">>> half"), True), (screen_of("some text"), False), (screen_of(">>> ", below="hint"), False),
        (screen_of(">>> ", visible=False), False),
        (parse_screen([b"> type here"], cursor_x=2, cursor_y=0, cursor_visible=True), False),
        (parse_screen([b"> "], cursor_x=2, cursor_y=5, cursor_visible=True), False),
    ],
)  # fmt: skip
def test_a_program_that_edits_a_line_is_told_from_an_input_box(screen: Screen, *, expected: bool) -> None:
    assert is_line(LINE, screen, at(screen)) is expected


def test_a_known_prompt_is_kept_in_the_pane_for_its_process() -> None:
    kept = write_prompt(known("In [7]: ").prompt.known, 42)
    later = Pane()
    later.prompt = Prompt(read_prompt(kept, 42))
    assert later.shows("In [12]: x").draft(EVER) == "x"
    assert read_prompt(kept, 43) == read_prompt("", 42) == ""
    assert write_prompt("", 42) == write_prompt("x" * 201, 42) == ""


def test_the_text_left_of_the_cursor_is_read_by_columns() -> None:
    screen = parse_screen(
        [b"above", "$ \x1b[1m日本\x1b[0mx suggested".encode()], cursor_x=7, cursor_y=1, cursor_visible=True
    )
    assert spot_of(screen, width=80, history_rows=10, editing=True) == Spot(
        line="$ 日本x", row=11, editing=True
    )
    for x, y, text in ((2, 1, "$ "), (0, 1, ""), (3, 9, ""), (8, 0, "above   ")):
        moved = parse_screen([b"above", b"$ x"], cursor_x=x, cursor_y=y, cursor_visible=True)
        assert spot_of(moved, width=80, history_rows=0, editing=False).line == text
    full = parse_screen([b"short", b"fives", b"55555", b"x"], cursor_x=1, cursor_y=3, cursor_visible=True)
    assert spot_of(full, width=5, history_rows=0, editing=False).above == ("short", "fives", "55555")
    assert spot_of(full, width=6, history_rows=0, editing=False).above == ()


def test_what_ends_within_words_may_be_half_typed_where_lines_are_buffered() -> None:
    assert [perhaps_typed(LINE, line) for line in ("theirs beg", "and so.", "  x")] == [
        "theirs beg",
        "and so.",
        "x",
    ]
    for line in ("", "   ", "Name: ", "Name:", "ftp> ", "ftp>", "Go on? [y/n]", "(pdb) ", "$ ", "half and "):
        assert perhaps_typed(LINE, line) == ""
