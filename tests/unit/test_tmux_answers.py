"""The parser of control-mode output, fed with bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noval_d.tmux.answers import MAX_LINE_BYTES, Answer, AnswerParser, Block, Finished, Notification, Overlong

TOKEN = b"nova-0123-"


def block(number: int, *lines: bytes, kind: bytes = b"end", flags: int = 1) -> bytes:
    guard = b"1700000000 %d %d" % (number, flags)
    return (
        b"%begin "
        + guard
        + b"\n"
        + b"".join(line + b"\n" for line in lines)
        + b"%"
        + kind
        + b" "
        + guard
        + b"\n"
    )


def end(request: int, number: int) -> bytes:
    return block(number, TOKEN + b"%d" % request)


def fed(data: bytes) -> list[Finished | Notification]:
    return AnswerParser(TOKEN).feed(data)


def only_answer(data: bytes) -> Answer:
    (event,) = fed(data)
    assert isinstance(event, Finished)
    return event.answer


def test_an_answer_holds_the_blocks_of_its_commands_in_order() -> None:
    answer = only_answer(block(5, b"one", b"two") + block(6) + end(1, 7))
    assert answer.blocks == (Block(ok=True, lines=(b"one", b"two")), Block(ok=True, lines=()))
    assert answer.lines == (b"one", b"two")
    assert answer.error is None


def test_an_error_is_told_in_the_words_of_tmux_and_is_no_line_of_the_answer() -> None:
    answer = only_answer(block(5, b"fine") + block(6, b"can't find pane: %9", kind=b"error") + end(1, 7))
    assert answer.error == "can't find pane: %9"
    assert answer.lines == (b"fine",)


def test_text_that_looks_like_guards_of_others_is_text() -> None:
    text = (b"%end 1700000000 999 1", b"%error 1 2 3", b"%begin 1700000000 6 1", b"%exit", b"%end", b"")
    assert only_answer(block(5, *text) + end(1, 6)).blocks == (Block(ok=True, lines=text),)


def test_a_screen_that_guesses_its_own_guard_makes_the_answer_ambiguous_and_harms_no_other() -> None:
    parser = AnswerParser(TOKEN)
    faked = block(5, b"before", b"%end 1700000000 5 1", b"%begin 1700000000 77 1", b"after")
    first, second = parser.feed(faked + end(1, 6) + block(8, b"clean") + end(2, 9))
    assert isinstance(first, Finished)
    assert first.answer.ambiguous
    assert first.answer.error is not None
    assert second == Finished(number=2, answer=Answer(blocks=(Block(ok=True, lines=(b"clean",)),)))


def test_a_screen_that_fakes_an_end_outside_of_a_block_makes_the_answer_ambiguous() -> None:
    faked = block(5, b"before", b"%end 1700000000 5 1", b"after")
    assert only_answer(faked + end(1, 6)).ambiguous


def test_what_hooks_of_the_user_print_is_not_part_of_an_answer() -> None:
    hook = block(6, b"HOOK", flags=0) + block(7, b"no such pane", kind=b"error", flags=0)
    assert only_answer(block(5, b"mine") + hook + end(1, 8)) == Answer(
        blocks=(Block(ok=True, lines=(b"mine",)),)
    )


def test_a_hook_that_answers_after_the_token_does_not_reach_the_next_answer() -> None:
    first, second = fed(end(1, 5) + block(6, b"HOOK", flags=0) + block(7, b"next") + end(2, 8))
    assert first == Finished(number=1, answer=Answer())
    assert second == Finished(number=2, answer=Answer(blocks=(Block(ok=True, lines=(b"next",)),)))


def test_a_line_between_blocks_is_a_stray_and_no_error() -> None:
    answer = only_answer(block(5) + b"/none: No such file or directory\n" + block(6, b"x") + end(1, 7))
    assert answer.strays == (b"/none: No such file or directory",)
    assert answer.error is None


def test_strays_of_a_quiet_time_can_be_forgotten() -> None:
    parser = AnswerParser(TOKEN)
    parser.feed(b"late words of a hook\n")
    parser.forget_strays()
    assert parser.feed(end(1, 5)) == [Finished(number=1, answer=Answer())]


def test_notifications_between_blocks_are_told_at_once() -> None:
    assert fed(b"%sessions-changed\n" + block(5, b"%exit") + b"%pane-mode-changed %3\n") == [
        Notification(name="%sessions-changed", rest=b""),
        Notification(name="%pane-mode-changed", rest=b"%3"),
    ]


def test_a_line_over_the_limit_is_refused() -> None:
    parser = AnswerParser(TOKEN)
    parser.feed(b"x" * MAX_LINE_BYTES)
    with pytest.raises(Overlong):
        parser.feed(b"x")


LINES = st.lists(st.binary(max_size=30).map(lambda data: data.replace(b"\n", b"")), max_size=5)


@given(st.lists(LINES, min_size=1, max_size=4), st.lists(st.integers(min_value=1, max_value=7), min_size=1))
def test_answers_do_not_depend_on_how_the_bytes_are_cut(answers: list[list[bytes]], cuts: list[int]) -> None:
    data = b"".join(
        block(10 * n, *lines) + b"%sessions-changed\n" + end(n, 10 * n + 1)
        for n, lines in enumerate(answers, 1)
    )
    whole = AnswerParser(TOKEN).feed(data)
    parser = AnswerParser(TOKEN)
    pieces: list[Finished | Notification] = []
    at = step = 0
    while at < len(data):
        size = cuts[step % len(cuts)]
        pieces += parser.feed(data[at : at + size])
        at, step = at + size, step + 1
    assert pieces == whole
    finished = [event for event in whole if isinstance(event, Finished)]
    assert [event.answer.lines for event in finished] == [tuple(lines) for lines in answers]
