"""The lab's programs, in real panes: what they draw, take in, and write down."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.rows import rows_of
from tests.lab.tmux import PrivateTmux

ANSWER_LIMIT_S = 10.0
PASTE_WINDOW_S = 0.15  # a little more than the agent's


@pytest.fixture
def server() -> Iterator[PrivateTmux]:
    with PrivateTmux.create() as running:
        yield running


class Agent:
    """An `agent_tui` in a pane, with its log."""

    def __init__(self, server: PrivateTmux, folder: Path, *arguments: str) -> None:
        self.server = server
        self.log = folder / "agent.jsonl"
        self.pane = server.open_program("agent_tui.py", ["--log", str(self.log), *arguments])
        self.wait_for("? for shortcuts")

    def events(self) -> list[tuple[str, str]]:
        return [(row["event"], row["text"]) for row in rows_of(self.log) if row["event"] != "start"]

    def wait_events(self, count: int) -> list[tuple[str, str]]:
        eventually(lambda: len(self.events()) >= count)
        return self.events()

    def wait_for(self, wanted: str | Callable[[str], bool]) -> str:
        return self.server.wait_for(self.pane, wanted, ANSWER_LIMIT_S)

    def composer(self) -> list[str]:
        """The rows between the last two rules."""
        rows = self.server.capture(self.pane).rstrip().splitlines()
        rules = [index for index, row in enumerate(rows) if row.startswith("─" * 10)]
        return [row.rstrip() for row in rows[rules[-2] + 1 : rules[-1]]]

    def submit(self, text: str) -> None:
        before = self.composer()
        self.server.paste(self.pane, text)
        eventually(lambda: self.composer() != before)
        time.sleep(PASTE_WINDOW_S)
        self.server.press(self.pane, "Enter")


def eventually(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + ANSWER_LIMIT_S
    while not holds():
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(0.02)


def test_the_agent_draws_a_composer_between_two_rules(server: PrivateTmux, tmp_path: Path) -> None:
    agent = Agent(server, tmp_path, "--name", "claude-1")
    assert agent.composer() == ['❯\u00a0Try "fix lint errors"']
    screen = server.capture(agent.pane, escapes=True)
    assert "\x1b[7mT" in screen  # the drawn cursor lies on the first letter of the dim ghost
    assert server.value(agent.pane, "cursor_flag") == "0"
    assert server.value(agent.pane, "pane_title") == "✳ claude-1"
    assert server.value(agent.pane, "alternate_on") == "0"


def test_a_paste_and_enter_are_one_prompt(server: PrivateTmux, tmp_path: Path) -> None:
    agent = Agent(server, tmp_path)
    agent.submit("hello 你好 [[m-1]]\nsecond line")
    assert agent.wait_events(1) == [("prompt", "hello 你好 [[m-1]]\nsecond line")]
    agent.wait_for("● Done.")
    assert agent.composer() == ["❯"]


def test_an_enter_within_the_paste_window_joins_the_paste(server: PrivateTmux, tmp_path: Path) -> None:
    agent = Agent(server, tmp_path)
    server.tmux("set-buffer", "hello", ";", "paste-buffer", "-p", "-r", "-t", agent.pane, ";",
                "send-keys", "-t", agent.pane, "Enter")  # fmt: skip
    eventually(lambda: len(agent.composer()) == 2)
    assert agent.events() == []
    time.sleep(PASTE_WINDOW_S)
    server.press(agent.pane, "Enter")
    assert agent.wait_events(1) == [("prompt", "hello")]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\nc\nd", "[Pasted text #1 +3 lines]"),
        ("x" * 801, "[Pasted text #1]"),
        ("word " * 200_000 + "end", "[Pasted text #1]"),
    ],
    ids=["four lines", "801 characters", "one megabyte"],
)
def test_a_long_paste_is_shown_short_and_taken_whole(
    server: PrivateTmux, tmp_path: Path, text: str, shown: str
) -> None:
    agent = Agent(server, tmp_path)
    agent.submit(text)
    assert agent.wait_events(1) == [("prompt", text)]
    server.paste(agent.pane, text)
    agent.wait_for(shown.replace("#1", "#2"))


def test_prompts_are_queued_while_it_is_busy(server: PrivateTmux, tmp_path: Path) -> None:
    agent = Agent(server, tmp_path, "--busy", "1.5")
    agent.submit("first")
    agent.wait_events(1)
    eventually(lambda: server.value(agent.pane, "pane_title")[0] in "⠂⠐")
    agent.submit("second")
    agent.wait_for("Press up to edit queued messages")
    assert agent.events() == [("prompt", "first")]
    assert agent.wait_events(2) == [("prompt", "first"), ("prompt", "second")]


@pytest.mark.parametrize(("key", "event"), [("Enter", "approved"), ("Escape", "rejected")])
def test_a_dialog_is_answered_by_a_key_and_swallows_a_paste(
    server: PrivateTmux, tmp_path: Path, key: str, event: str
) -> None:
    agent = Agent(server, tmp_path)
    agent.submit("USETOOL now")
    screen = agent.wait_for("Esc to cancel")
    assert "❯ 1. Yes" in screen
    server.paste(agent.pane, "lost")
    time.sleep(PASTE_WINDOW_S)
    server.press(agent.pane, key)
    assert agent.wait_events(2) == [("prompt", "USETOOL now"), (event, "USETOOL now")]
    agent.wait_for("? for shortcuts")
    assert agent.composer() == ["❯"]


def test_a_dialog_waits_until_the_composer_was_left_alone(server: PrivateTmux, tmp_path: Path) -> None:
    agent = Agent(server, tmp_path, "--busy", "0.5")
    agent.submit("USETOOL now")
    for _ in range(4):
        time.sleep(0.4)
        server.press(agent.pane, "x")
    typed_at = time.monotonic()
    assert "Esc to cancel" not in server.capture(agent.pane)
    agent.wait_for("Esc to cancel")
    assert time.monotonic() - typed_at > 1.2


@pytest.mark.parametrize("how", ["C-d", "/exit"])
def test_the_agent_ends_on_request(server: PrivateTmux, tmp_path: Path, how: str) -> None:
    server.open("sleep 60")
    agent = Agent(server, tmp_path)
    if how == "C-d":
        server.press(agent.pane, how)
    else:
        agent.submit(how)
    eventually(lambda: agent.pane not in server.tmux("list-panes", "-a", "-F", "#{pane_id}").split())


def test_the_hook_command_is_told_what_happens(server: PrivateTmux, tmp_path: Path) -> None:
    told = tmp_path / "told.jsonl"
    script = tmp_path / "hook.py"
    script.write_text(
        "import json, os, sys\n"
        "line = {'event': sys.argv[1], 'pane': os.environ['TMUX_PANE'], **json.load(sys.stdin)}\n"
        f"print(json.dumps(line), file=open({str(told)!r}, 'a'))\n"
    )
    server.open("sleep 60")
    agent = Agent(server, tmp_path, "--hook", shlex.join([sys.executable, str(script)]))
    agent.submit("hello")
    agent.wait_for("● Done.")
    server.press(agent.pane, "C-d")

    def lines() -> list[dict[str, Any]]:
        return rows_of(told)

    eventually(lambda: len(lines()) == 4)
    assert [line["event"] for line in lines()] == ["SessionStart", "UserPromptSubmit", "Stop", "SessionEnd"]
    assert lines()[1]["prompt"] == "hello"
    assert {line["pane"] for line in lines()} == {agent.pane}


def test_the_raw_log_holds_every_byte(server: PrivateTmux, tmp_path: Path) -> None:
    log = tmp_path / "raw.log"
    pane = server.open_program("rawlog.py", [str(log)])
    server.wait_for(pane, "READY")
    server.paste(pane, "a\tb\nc\x1b")
    server.press(pane, "Enter")
    eventually(lambda: log.read_bytes() == b"a\tb\nc\x1b\r")


def test_the_raw_log_shows_paste_brackets_when_asked_to(server: PrivateTmux, tmp_path: Path) -> None:
    log = tmp_path / "raw.log"
    pane = server.open_program("rawlog.py", [str(log), "--bracketed"])
    server.wait_for(pane, "READY")
    server.paste(pane, "hello")
    eventually(lambda: log.read_bytes() == b"\x1b[200~hello\x1b[201~")


def test_a_stalled_raw_log_reads_nothing_at_first(server: PrivateTmux, tmp_path: Path) -> None:
    log = tmp_path / "raw.log"
    pane = server.open_program("rawlog.py", [str(log), "--stall", "1"])
    server.wait_for(pane, "READY")
    server.paste(pane, "hello")
    time.sleep(0.3)
    assert log.read_bytes() == b""
    eventually(lambda: log.read_bytes() == b"hello")
