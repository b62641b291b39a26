"""Somebody types into a line-based program while messages come: the half-typed line is held for, not joined."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.support.node import TestNode, node, until

PROGRAMS = {
    "readline": f"{sys.executable} -i -q",
    "cooked": 'sh -c \'while printf "you> "; read -r line; do echo "got [$line]"; done\'',
}


PROMPT = {"readline": ">>> ", "cooked": "you> "}


@pytest.fixture(scope="module")
def made() -> Iterator[TestNode]:
    with node() as made:
        yield made


def place(made: TestNode, name: str) -> str:
    pane = made.tmux.open(PROGRAMS[name])
    at_prompt(made, pane, name)
    made.register(name, pane)
    for n in (1, 2):
        made.wait_state(made.send(name, f"{n} + 1")["id"], "submitted")
        made.tmux.wait_for(pane, f"\n{n + 1}\n" if name == "readline" else f"got [{n} + 1]")
        at_prompt(made, pane, name)
    return pane


def at_prompt(made: TestNode, pane: str, name: str) -> None:
    """Wait until nothing but the prompt stands before the cursor."""
    wanted = str(len(PROMPT[name]))
    until(lambda: made.tmux.value(pane, "cursor_x") == wanted, what="the prompt")


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_half_typed_line_holds_and_is_not_touched(made: TestNode, name: str) -> None:
    pane = place(made, name)
    made.tmux.press(pane, "-l", "100 + 1")
    made.tmux.wait_for(pane, PROMPT[name] + "100 + 1")
    message = made.send(name, "200 + 1")["id"]
    held = made.wait_state(message, "held")
    assert held["reason"] == "draft"
    shown = [row for row in made.call("status")["held"] if row["id"] == message]
    assert shown[0]["reason"] == "draft"
    made.tmux.press(pane, "Enter")
    made.wait_state(message, "submitted")
    text = made.tmux.capture(pane)
    assert "100 + 1200" not in text
    wanted = ("\n101\n", "\n201\n") if name == "readline" else ("got [100 + 1]", "got [200 + 1]")
    made.tmux.wait_for(pane, wanted[1].strip())
    text = made.tmux.capture(pane)
    assert all(text.count(each) == 1 for each in wanted)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_line_that_is_taken_back_lets_the_message_in(made: TestNode, name: str) -> None:
    (pane,) = [row["pane"] for row in made.call("agents") if row["agent_id"] == name]
    at_prompt(made, pane, name)
    made.tmux.press(pane, "-l", "oops")
    made.tmux.wait_for(pane, "> oops")
    message = made.send(name, "300 + 1")["id"]
    assert made.wait_state(message, "held")["reason"] == "draft"
    for _ in "oops":
        made.tmux.press(pane, "BSpace")
    made.wait_state(message, "submitted")
    made.tmux.wait_for(pane, "301" if name == "readline" else "got [300 + 1]")


def test_bursts_and_output_without_a_line_end_are_no_draft(made: TestNode) -> None:
    """A program that says `> working...` for a while after each line, and many messages at once."""
    program = (
        "import time, sys\n"
        "for line in iter(lambda: input('> '), 'end'):\n"
        "    print('got', line, flush=True)\n"
        "    print('working', end='', flush=True); time.sleep(0.05); print('...', flush=True)\n"
    )
    (made.state / "burst.py").write_text(program)
    pane = made.tmux.open(f"{sys.executable} {made.state / 'burst.py'}")
    made.tmux.wait_for(pane, ">")
    made.register("burst", pane)
    sent = [made.send("burst", f"message number {n}")["id"] for n in range(30)]
    for message in sent:
        made.wait_state(message, "submitted")
        assert "draft" not in {hop["reason"] for hop in made.call("trace", {"id": message})["hops"]}
