"""`send-claude-message.sh` without a daemon: what the original did, and each of its defects fixed."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.tmux import PrivateTmux
from tests.support.legacy import (
    SEND,
    Said,
    Window,
    environment,
    inside,
    original,
    refused,
    run,
    sent,
    window,
)
from tests.support.node import until


@dataclass(frozen=True, slots=True)
class Stage:
    """A server with two sessions: `alpha` with the windows main and logs (two panes), `beta` with one."""

    tmux: PrivateTmux
    main: Window
    left: Window
    right: Window
    beta: Window


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("panes")
    with PrivateTmux.create() as tmux:
        size = ("-x", "120", "-y", "40")
        main = window(tmux, folder, ("new-session", "-d", "-s", "alpha", "-n", "main", *size), "main")
        left = window(tmux, folder, ("new-window", "-d", "-t", "=alpha:1", "-n", "logs"), "left")
        right = window(tmux, folder, ("split-window", "-d", "-t", "=alpha:1"), "right")
        beta = window(tmux, folder, ("new-session", "-d", "-s", "beta-long", *size), "beta")
        yield Stage(tmux, main, left, right, beta)


# -- the same as the original --

CASES = [
    ("alpha", ("hello there",), "main"),
    ("alpha:", ("hello",), "main"),
    ("alpha:0", ("one", "two", "three"), "main"),
    ("alpha:main", ("  two  blanks \t and a tab",), "main"),
    ("alpha:logs", ("to the active pane",), "left"),
    ("alpha:1.1", ("to the other pane",), "right"),
    ("alpha:logs.1", ("and by name",), "right"),
    ("beta", ("a unique beginning",), "beta"),
    ("=beta-long:0", ("the whole name",), "beta"),
    ("alpha:0", ("", "an empty word before"), "main"),
    ("alpha:0", ("",), "main"),
    ("alpha:0", ("/compact",), "main"),
    ("alpha:0", ("Grüße, 你好 🚀",), "main"),
    ("alpha:0", ("$HOME `id` $(id) \"double\" 'single' \\ {a,b} #{pane_id} %0 ~ !x",), "main"),
    ("alpha:0", ("two\nlines",), "main"),
]


@pytest.mark.parametrize(("target", "words", "where"), CASES, ids=lambda value: repr(value)[:24])
def test_it_prints_returns_and_types_what_the_original_did(
    stage: Stage, target: str, words: tuple[str, ...], where: str
) -> None:
    pane: Window = getattr(stage, where)
    env = environment(stage.tmux)
    theirs = original(env, target, *words, pause_s=0.02)
    their_bytes = pane.fresh()
    ours = run(SEND, target, *words, env=env)
    assert ours == theirs
    assert pane.fresh() == their_bytes
    assert all(each.nothing() for each in (stage.main, stage.left, stage.right, stage.beta))


def test_an_empty_target_is_the_current_session(stage: Stage) -> None:
    env = inside(stage.tmux, stage.beta.pane)
    theirs = original(env, "", "here", pause_s=0.02)
    their_bytes = stage.beta.fresh()
    assert run(SEND, "", "here", env=env) == theirs
    assert stage.beta.fresh() == their_bytes
    assert run(SEND, ":0", "here", env=env) == sent(":0", "here")
    assert stage.beta.fresh() == b"here\r"


@pytest.mark.parametrize("words", [(), ("alpha:0",)], ids=["none", "one"])
def test_too_few_arguments_are_answered_with_its_two_lines(stage: Stage, words: tuple[str, ...]) -> None:
    said = run(SEND, *words, env=environment(stage.tmux))
    lines = f"Usage: {SEND} <session:window> <message>\nExample: {SEND} agentic-seek:3 'Hello Claude!'\n"
    assert said == Said(lines.encode(), "", 1)
    assert stage.main.nothing()


def test_it_says_what_it_was_called_as(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "other.sh").symlink_to(SEND)
    for words in (["./other.sh"], ["sh", "other.sh"], ["bash", "other.sh"]):
        done = subprocess.run(
            words, cwd=tmp_path, env=environment(stage.tmux), capture_output=True, check=False
        )
        assert done.stdout.startswith(f"Usage: {words[-1]} <session:window> <message>\n".encode())
        assert done.returncode == 1


# -- its defects --

TYPED_AS_TEXT = [
    "Enter", "C-c", "Space", "0x41", "-l", "-t beta-long:0", "--", "-N 3", "echo hi;", ";", "a\\;", "x" * 20_000,
]  # fmt: skip


@pytest.mark.parametrize("text", TYPED_AS_TEXT, ids=lambda text: repr(text)[:16])
def test_what_the_original_took_for_keys_and_options_is_text(stage: Stage, text: str) -> None:
    assert run(SEND, "alpha:0", text, env=environment(stage.tmux)) == sent("alpha:0", text)
    assert stage.main.fresh(len(text) + 1) == f"{text}\r".encode()


def test_a_message_of_a_quarter_of_a_megabyte_goes_in_whole(stage: Stage) -> None:
    words = ["y" * 100_000, "z" * 100_000, "w" * 50_000]
    text = " ".join(words)
    assert run(SEND, "alpha:0", *words, env=environment(stage.tmux)) == sent("alpha:0", text)
    assert stage.main.fresh(len(text) + 1) == f"{text}\r".encode()


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("nobody:0", "there is no session nobody"),
        ("alpha:7", "there is no window 7"),
        ("alpha:mian", "Did you mean main"),
        ("alpha:logs.9", "there is no pane alpha:logs.9"),
        ("%999", "there is no pane %999"),
        ("=beta", "there is no session beta"),
    ],
    ids=lambda value: value[:12],
)
def test_what_does_not_exist_is_an_error_and_nothing_is_typed(
    stage: Stage, target: str, sentence: str
) -> None:
    refused(run(SEND, target, "hello", env=environment(stage.tmux)), 5, sentence)
    assert all(each.nothing() for each in (stage.main, stage.left, stage.right, stage.beta))


def test_a_beginning_of_two_sessions_is_neither(stage: Stage, tmp_path: Path) -> None:
    other = window(stage.tmux, tmp_path, ("new-session", "-d", "-s", "beta-other"), "other")
    refused(run(SEND, "beta:0", "hello", env=environment(stage.tmux)), 5, "several sessions begin with beta")
    assert other.nothing()
    assert stage.beta.nothing()
    stage.tmux.tmux("kill-session", "-t", "=beta-other")


def test_no_server_is_an_error(tmux: PrivateTmux) -> None:
    refused(run(SEND, "alpha:0", "hello", env=environment(tmux)), 1, "no tmux server at")
    assert not tmux.socket_path.exists()


def test_a_switch_brings_exit_code_0_back_but_not_the_false_line(stage: Stage) -> None:
    said = run(SEND, "nobody:0", "hello", env=environment(stage.tmux, NOVA_LEGACY_EXIT_0="1"))
    refused(said, 0, "there is no session nobody")


def test_in_copy_mode_it_waits_and_says_so_when_that_takes_too_long(stage: Stage) -> None:
    stage.tmux.tmux("copy-mode", "-t", stage.right.pane)
    env = environment(stage.tmux, NOVA_LEGACY_HOLD="200ms")
    refused(run(SEND, "alpha:1.1", "hello", env=env), 7, "somebody reads in copy mode")
    leaver = threading.Timer(0.5, stage.tmux.tmux, ("send-keys", "-t", stage.right.pane, "-X", "cancel"))
    leaver.start()
    assert run(SEND, "alpha:1.1", "later", env=environment(stage.tmux)) == sent("alpha:1.1", "later")
    leaver.join()
    assert stage.right.fresh() == b"later\r"


def test_a_pane_whose_input_is_off_is_an_error(stage: Stage) -> None:
    stage.tmux.tmux("select-pane", "-d", "-t", stage.right.pane)
    env = environment(stage.tmux, NOVA_LEGACY_HOLD="100ms")
    refused(run(SEND, "alpha:1.1", "hello", env=env), 7, "switched off")
    stage.tmux.tmux("select-pane", "-e", "-t", stage.right.pane)
    assert stage.right.nothing()


def test_a_dead_pane_is_an_error_and_the_server_lives(tmux: PrivateTmux) -> None:
    tmux.open("sleep 100")
    tmux.tmux("set-option", "-g", "remain-on-exit", "on")
    pane = tmux.open("true")
    until(lambda: tmux.value(pane, "pane_dead") == "1", what="the dead pane")
    refused(run(SEND, pane, "hello", env=environment(tmux)), 7, "the program in its pane has ended")
    assert tmux.value(pane, "pane_dead") == "1"


def test_control_bytes_never_reach_the_terminal(stage: Stage) -> None:
    text = "a\x1b[201~\x03b\rc"
    said = run(SEND, "alpha:0", text, env=environment(stage.tmux))
    assert said == sent("alpha:0", text)
    assert stage.main.fresh() == b"a[201~b\nc\r"


def test_bytes_that_are_no_text_are_refused(stage: Stage) -> None:
    refused(run(SEND, "alpha:0", b"\xff\xfe", env=environment(stage.tmux)), 2, "not UTF-8")
    assert stage.main.nothing()


def test_a_line_that_its_reader_would_lose_is_refused(tmux: PrivateTmux) -> None:
    pane = tmux.open("cat")
    refused(run(SEND, pane, "x" * 5000, env=environment(tmux)), 7, "a line has 5000 bytes")
    assert run(SEND, pane, "short", env=environment(tmux)) == sent(pane, "short")
    tmux.wait_for(pane, "short\nshort")


def test_a_half_typed_line_before_a_program_without_a_prompt_is_waited_for(tmux: PrivateTmux) -> None:
    pane = tmux.open("cat")
    tmux.press(pane, "-l", "theirs begun")
    tmux.wait_for(pane, "theirs begun")
    with subprocess.Popen(
        [SEND, pane, "ours"],
        env=environment(tmux, NOVA_LEGACY_HOLD="60s"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as script:
        until(lambda: is_locked(tmux.value(pane, "pane_tty")), 45, "the script's look")
        tmux.press(pane, "-l", " and ended")
        tmux.wait_for(pane, "theirs begun and ended")
        tmux.press(pane, "Enter")
        assert script.communicate(timeout=60) == (f"Message sent to {pane}: ours\n".encode(), b"")
    tmux.wait_for(pane, "theirs begun and ended\ntheirs begun and ended\nours\nours")


def is_locked(tty: str) -> bool:
    """Tell whether a script has taken the pane's terminal for itself."""
    descriptor = os.open(tty, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def test_what_only_may_be_half_typed_is_no_failure(tmux: PrivateTmux) -> None:
    """A program that asks in words alone is answered, after the wait."""
    asks = "import sys, time; print('Your name', end='', flush=True); print('hello', input()); time.sleep(99)"
    pane = tmux.open(shlex.join([sys.executable, "-c", asks]))
    tmux.wait_for(pane, "Your name")
    assert run(SEND, pane, "Nova", env=environment(tmux, NOVA_LEGACY_HOLD="500ms")) == sent(pane, "Nova")
    tmux.wait_for(pane, "hello Nova")


def test_two_at_once_are_two_messages(stage: Stage) -> None:
    env = environment(stage.tmux)
    texts = [f"{letter * 30}" for letter in "abc"]
    threads = [
        threading.Thread(target=run, args=(SEND, "alpha:0", text), kwargs={"env": env}) for text in texts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got = stage.main.fresh(sum(len(text) + 1 for text in texts))
    assert sorted(got.split(b"\r")) == [b"", *(text.encode() for text in texts)]


def test_one_that_is_killed_leaves_whole_lines_and_no_buffers(tmux: PrivateTmux) -> None:
    pane = tmux.open("cat")
    env = environment(tmux)
    for number in range(10):
        process = subprocess.Popen([SEND, pane, f"line {number} end"], env=env, stdout=subprocess.DEVNULL)
        time.sleep(0.06 + 0.01 * number)
        process.kill()
        process.wait()
    assert run(SEND, pane, "the last", env=env).code == 0
    tmux.wait_for(pane, "the last\nthe last")
    rows = [row for row in tmux.capture(pane).splitlines() if row]
    assert all(re.fullmatch(r"line \d end|the last", row) for row in rows), rows
    assert all(rows.count(row) == 2 for row in set(rows)), rows  # typed, and said again by cat
    assert tmux.tmux("list-buffers") == ""
