"""Somebody else's text joins ours before our Enter: ours is taken back, and typed again alone, behind theirs."""

from __future__ import annotations

import shlex
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from noval_d.delivery.proof import BESIDE
from noval_d.delivery.steps import MIXED
from noval_d.delivery.typist import TAKEN
from noval_d.failpoints import VARIABLE
from tests.support.agents import Tui, tui
from tests.support.node import TestNode, node, until

FIRST = "a person's own prompt"
OURS = "ours, and long enough to be told from any other"
TEXTS = {
    "a line": OURS,
    "two rows": f"{OURS}; " + "word " * 40 + "end",
    "two lines": f"{OURS}\nand – “another” – line",
    "a marker": "\n".join(f"line {n} of ours" for n in range(20)),
}
THEIRS = "theirs, whole"
PAUSE_S = 0.2  # an Enter sooner behind our paste is a line feed; the original waits longer


@pytest.fixture(scope="module")
def running() -> Iterator[TestNode]:
    """One node for the tests that do not kill it."""
    with node() as made:
        yield made


def told(running: TestNode, folder: Path, name: str, fault: str = "none") -> Tui:
    """Open an agent whose prompt hook has been heard, since a person has given it a prompt."""
    options = {"program": "faulty_tui.py", "arguments": ("--fault", fault)}
    agent = tui(running, folder, name, hooks=True, **options)  # type: ignore[arg-type]
    agent.draft(FIRST)
    agent.wait_for(FIRST)
    agent.press("Enter")
    agent.wait_prompts(1)
    agent.wait_state("idle")
    return agent


@pytest.fixture(scope="module")
def agent(running: TestNode, tmp_path_factory: pytest.TempPathFactory) -> Tui:
    """Return one without a fault."""
    return told(running, tmp_path_factory.mktemp("agent"), "sound")


def beside_the_next_paste(agent: Tui, *, behind: bool) -> None:
    """Have tmux type theirs right behind our next paste, or right before it."""
    event, where = (
        ("after-paste-buffer", ["-p", "-t", agent.pane]) if behind else ("after-load-buffer", ["-g"])
    )
    keys = shlex.join(["send-keys", "-l", "-t", agent.pane, THEIRS])
    over = shlex.join(["set-hook", "-u", *where, event])
    agent.node.tmux.tmux("set-hook", *where, event, f"{keys} ; {over}")


def typed(running: TestNode, message: str) -> list[str]:
    """Return the reasons that its sender was told while it was typed, in order."""
    hops = running.call("trace", {"id": message})["hops"]
    return [hop["reason"] for hop in hops if hop["state"] == "typed"]


def wait_held(running: TestNode, message: str) -> None:
    until(lambda: running.receipt(message)["reason"] == "draft", 45, "the message held behind a draft")


@pytest.mark.parametrize("body", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("behind", [True, False], ids=["theirs behind", "theirs in front"])
def test_ours_is_taken_back_and_goes_in_alone_behind_theirs(
    running: TestNode, agent: Tui, body: str, behind: bool
) -> None:
    before = len(agent.prompts())
    beside_the_next_paste(agent, behind=behind)
    message = running.send(agent.name, body)["id"]
    wait_held(running, message)
    agent.wait_for(f"❯\u00a0{THEIRS}")
    assert len(agent.prompts()) == before
    time.sleep(PAUSE_S)
    agent.press("Enter")
    last = running.wait_state(message, "acknowledged", "unconfirmed")
    assert (last["state"], last["reason"]) == ("acknowledged", "")
    assert agent.prompts()[before:] == [THEIRS, body]
    assert typed(running, message) == ["", TAKEN, ""]


def test_what_is_not_a_letter_a_key_stays_beside_theirs(running: TestNode, agent: Tui) -> None:
    before = len(agent.prompts())
    beside_the_next_paste(agent, behind=True)
    message = running.send(agent.name, "ours, and long enough, with wide letters: 漢字")["id"]
    until(lambda: running.receipt(message)["reason"] == MIXED, 45, "the reason")
    agent.press("Enter")
    last = running.wait_state(message, "acknowledged")
    assert last["reason"] == BESIDE
    assert agent.prompts()[before:] == [f"ours, and long enough, with wide letters: 漢字 {THEIRS}"]


def test_what_theirs_has_sent_before_it_could_be_taken_back_is_not_typed_again(
    running: TestNode, tmp_path: Path
) -> None:
    agent = told(running, tmp_path, "sent", "sent")
    beside_the_next_paste(agent, behind=True)
    message = running.send(agent.name, OURS)["id"]
    last = running.wait_state(message, "acknowledged", "unconfirmed")
    assert (last["state"], last["reason"]) == ("acknowledged", BESIDE)
    assert running.send_wait(agent.name, "and the next", wait="acknowledged")["reason"] == ""
    assert agent.prompts() == [FIRST, f"{OURS} {THEIRS}", "and the next"]
    assert TAKEN not in typed(running, message)


def test_what_was_taken_back_unseen_is_told_by_their_prompt(running: TestNode, tmp_path: Path) -> None:
    agent = told(running, tmp_path, "sends", "sends")
    beside_the_next_paste(agent, behind=True)
    message = running.send(agent.name, OURS)["id"]
    last = running.wait_state(message, "acknowledged", "unconfirmed")
    assert (last["state"], last["reason"]) == ("acknowledged", "")
    assert agent.prompts() == [FIRST, THEIRS, OURS]
    assert typed(running, message) == ["", TAKEN, ""]


@pytest.mark.parametrize("step", ["back.before", "back.after", "back.written"])
def test_a_daemon_killed_as_it_takes_ours_back_never_types_it_twice(tmp_path: Path, step: str) -> None:
    with node(env={VARIABLE: f"{step}=kill"}) as made:
        agent = told(made, tmp_path, "killed")
        beside_the_next_paste(agent, behind=True)
        message = made.send(agent.name, OURS)["id"]
        assert made.process is not None
        assert made.process.wait(30) == -signal.SIGKILL
        del made.env[VARIABLE]
        made.start()
        if step == "back.before":  # both stand there
            until(lambda: made.receipt(message)["reason"] == MIXED, 45, "the reason")
        elif step == "back.after":  # ours is gone, and nobody knows any more where
            made.wait_state(message, "unconfirmed", timeout_s=60)
        else:
            wait_held(made, message)
        agent.press("Enter")
        last = made.wait_state(message, "acknowledged", "unconfirmed")
        assert made.send_wait(agent.name, "and the next", wait="acknowledged")["state"] == "acknowledged"
        state, reason, prompts = {
            "back.before": ("acknowledged", BESIDE, [f"{OURS} {THEIRS}"]),
            "back.after": ("unconfirmed", last["reason"], [THEIRS]),
            "back.written": ("acknowledged", "", [THEIRS, OURS]),
        }[step]
        assert (last["state"], last["reason"]) == (state, reason)
        assert agent.prompts() == [FIRST, *prompts, "and the next"]
