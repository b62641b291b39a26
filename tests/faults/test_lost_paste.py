"""The agent loses a paste: typed again where that is proven, once; left `unconfirmed` where it is not."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path

import pytest

from noval_d.delivery.steps import MAX_LOSSES, NEVER_SEEN
from noval_d.delivery.typist import LOST
from noval_d.failpoints import VARIABLE
from tests.lab.programs.faulty_tui import LATE_S
from tests.support.agents import Tui, tui
from tests.support.node import TestNode, node, until

WITHIN_S = 1.0  # instead of Claude's ten seconds
FIRST = "a person's own prompt"
PAUSE_S = 0.5  # between somebody's text and their Enter, as in the original


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Return the environment of a node whose driver of Claude waits for a text only so long."""
    folder = tmp_path_factory.mktemp("drivers")
    own = resources.files("noval_d.agents") / "drivers" / "claude.toml"
    text = own.read_text(encoding="utf-8")
    assert "landed_within_s = 10.0" in text
    (folder / "claude.toml").write_text(
        text.replace("landed_within_s = 10.0", f"landed_within_s = {WITHIN_S}")
    )
    return {"NOVA_DELIVERY_DRIVERS_DIR": str(folder)}


@pytest.fixture(scope="module")
def running(hasty: Mapping[str, str]) -> Iterator[TestNode]:
    """One node for the tests that do not kill it; each uses an agent of its own."""
    with node(env=dict(hasty)) as made:
        yield made


def faulty(running: TestNode, folder: Path, fault: str, *, hooks: bool = True, busy_s: float = 0.0) -> Tui:
    """Open an agent with a fault; a person has given it a prompt, so its prompt hook has been heard."""
    options = {"program": "faulty_tui.py", "arguments": ("--fault", fault)}
    name = f"{fault}-{'hooked' if hooks else 'mute'}-{busy_s:.0f}"
    agent = tui(running, folder, name, hooks=hooks, busy_s=busy_s, **options)  # type: ignore[arg-type]
    agent.draft(FIRST)
    agent.wait_for(FIRST)
    agent.press("Enter")
    agent.wait_prompts(1)
    agent.wait_state("idle")
    return agent


def typed(running: TestNode, message: str) -> list[str]:
    """Return the reasons that its sender was told while it was typed, in order."""
    hops = running.call("trace", {"id": message})["hops"]
    return [hop["reason"] for hop in hops if hop["state"] == "typed"]


def test_a_lost_paste_is_typed_again_once(running: TestNode, tmp_path: Path) -> None:
    agent = faulty(running, tmp_path, "drop")
    message = running.send(agent.name, "lost, and found")["id"]
    running.wait_state(message, "acknowledged")
    assert agent.prompts() == [FIRST, "lost, and found"]
    assert typed(running, message) == ["", LOST, ""]


def test_what_is_lost_again_and_again_is_unconfirmed(running: TestNode, tmp_path: Path) -> None:
    agent = faulty(running, tmp_path, "drop-all")
    message = running.send(agent.name, "lost for good")["id"]
    last = running.wait_state(message, "unconfirmed")
    assert last["reason"] == NEVER_SEEN
    assert typed(running, message) == ["", *([LOST, ""] * MAX_LOSSES)]
    assert agent.prompts() == [FIRST]


def test_without_hooks_it_stays_unconfirmed(running: TestNode, tmp_path: Path) -> None:
    agent = faulty(running, tmp_path, "drop", hooks=False)
    message = running.send(agent.name, "lost, and nobody knows")["id"]
    last = running.wait_state(message, "unconfirmed")
    assert last["reason"] == NEVER_SEEN
    assert typed(running, message) == [""]
    assert agent.prompts() == [FIRST]


def test_a_paste_that_shows_late_goes_in_once(running: TestNode, tmp_path: Path) -> None:
    assert LATE_S > 2 * WITHIN_S
    agent = faulty(running, tmp_path, "late")
    message = running.send(agent.name, "better late than twice")["id"]
    running.wait_state(message, "acknowledged")
    assert running.send_wait(agent.name, "and the next", wait="acknowledged")["state"] == "acknowledged"
    assert agent.prompts() == [FIRST, "better late than twice", "and the next"]


def test_a_piece_that_went_in_with_somebody_elses_words_is_not_typed_again(
    running: TestNode, tmp_path: Path
) -> None:
    agent = faulty(running, tmp_path, "fuse")
    message = running.send(agent.name, "the first half of it goes in with theirs")["id"]
    last = running.wait_state(message, "unconfirmed")
    assert last["reason"] == NEVER_SEEN
    assert agent.prompts() == [FIRST, "theirs the first half of it"]


def test_a_turn_that_may_have_taken_it_is_waited_for(running: TestNode, tmp_path: Path) -> None:
    agent = faulty(running, tmp_path, "drop", busy_s=4.0)
    agent.draft("work")
    agent.wait_for("work")
    agent.press("Enter")
    agent.wait_prompts(2)
    message = running.send(agent.name, "lost in a turn")["id"]
    until(lambda: running.receipt(message)["reason"] == "busy", 45, "the reason")
    assert running.receipt(message)["state"] == "typed"
    running.wait_state(message, "acknowledged")
    assert typed(running, message) == ["", "busy", LOST, ""]
    assert agent.prompts() == [FIRST, "work", "lost in a turn"]


def test_somebody_who_types_without_end_says_by_it_that_the_paste_was_lost(
    running: TestNode, tmp_path: Path
) -> None:
    agent = faulty(running, tmp_path, "drop")
    message = running.send(agent.name, "lost, and the box is never empty")["id"]
    running.wait_state(message, "typed")
    theirs = [FIRST, "number 0"]
    agent.draft(theirs[-1])

    def is_lost() -> bool:
        agent.wait_for(theirs[-1])
        time.sleep(PAUSE_S)
        if LOST in typed(running, message):
            return True
        theirs.append(f"number {len(theirs)}")
        enter = ("send-keys", "-t", agent.pane, "Enter", ";")
        running.tmux.tmux(*enter, "send-keys", "-t", agent.pane, "-l", theirs[-1])
        return False

    until(is_lost, 45, "the proof")
    agent.press("Enter")
    running.wait_state(message, "acknowledged")
    assert agent.prompts() == [*theirs, "lost, and the box is never empty"]


@pytest.mark.parametrize("step", ["lost.before", "lost.after"])
def test_a_daemon_killed_between_the_proof_and_the_repeat_types_it_at_most_once_more(
    hasty: Mapping[str, str], tmp_path: Path, step: str
) -> None:
    with node(env={**hasty, VARIABLE: f"{step}=kill"}) as made:
        agent = faulty(made, tmp_path, "drop")
        message = made.send(agent.name, "lost as its daemon dies")["id"]
        assert made.process is not None
        assert made.process.wait(30) == -signal.SIGKILL
        del made.env[VARIABLE]
        made.start()
        last = made.wait_state(message, "acknowledged", "unconfirmed", timeout_s=60)
        # before it is written that the text was lost, nobody knows any more
        assert last["state"] == ("unconfirmed" if step == "lost.before" else "acknowledged"), last
        after = made.send_wait(agent.name, "and the next", wait="acknowledged")
        assert after["state"] == "acknowledged"
        taken = [] if step == "lost.before" else ["lost as its daemon dies"]
        assert agent.wait_prompts(2 + len(taken)) == [FIRST, *taken, "and the next"]
