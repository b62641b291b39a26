"""Running agents are found and registered, and keep their names wherever their panes are moved."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.tmux import PROGRAMS
from tests.support.agents import READY, raw
from tests.support.node import TestNode, node, until

RULES = """
[[adopt]]
window = "rev-*"
id = "{window}"
role = "reviewer"
skills = ["python"]
[[adopt]]
command = "cat"
driver = "line"
id = "cat-{n}"
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[TestNode]:
    config = tmp_path / "config.toml"
    config.write_text(RULES)
    with node(env={"NOVA_TORCH_CONFIG": str(config)}) as made:
        yield made


def claude(running: TestNode, folder: Path, window: str) -> str:
    """Open a Claude-like program in a window of that name; return its pane."""
    link = folder / "claude"
    if not link.exists():
        link.symlink_to(os.path.realpath(sys.executable))
    words = [
        str(link),
        str(PROGRAMS / "agent_tui.py"),
        "--log",
        str(folder / f"{window}.jsonl"),
        "--name",
        window,
    ]
    pane = running.tmux.open(shlex.join(words))
    running.tmux.tmux("rename-window", "-t", pane, window)
    running.tmux.wait_for(pane, READY)
    return pane


def test_running_agents_are_found_by_the_rules_once(running: TestNode, tmp_path: Path) -> None:
    reviewer = claude(running, tmp_path, "rev-1")
    free = claude(running, tmp_path, "free")
    cat = running.tmux.open("cat")
    plan = json.loads(running.novactl("adopt", "--dry-run", "--json").stdout)
    assert {row["agent_id"]: row["pane"] for row in plan["found"]} == {"rev-1": reviewer, "cat-1": cat}
    assert running.call("agents") == []
    done = running.novactl("adopt")
    assert done.returncode == 0, done.stderr
    assert "rev-1\tclaude\tadopted" in done.stdout
    assert "left: no rule matches" in done.stdout
    records = {record["agent_id"]: record for record in running.call("agents")}
    assert {name: record["pane"] for name, record in records.items()} == {"rev-1": reviewer, "cat-1": cat}
    assert (records["rev-1"]["role"], records["rev-1"]["skills"]) == ("reviewer", ["python"])
    again = json.loads(running.novactl("adopt", "--json").stdout)
    assert again["found"] == []
    reasons = {row["pane"]: row["reason"] for row in again["left"]}
    assert (reasons[reviewer], reasons[free]) == ("it is agent rev-1 already", "no rule matches")
    assert running.send_wait("rev-1", "hello")["state"] == "submitted"


def moves(running: TestNode, pane: str, other: str) -> list[tuple[str, Callable[[], object]]]:
    tmux = running.tmux.tmux
    return [
        ("renamed", lambda: tmux("rename-window", "-t", pane, "another name")),
        ("moved", lambda: tmux("move-window", "-s", pane, "-t", f"{session(running, other)}:77")),
        ("joined", lambda: tmux("join-pane", "-d", "-s", pane, "-t", other)),
        ("broken out", lambda: tmux("break-pane", "-d", "-s", pane)),
    ]


def session(running: TestNode, pane: str) -> str:
    return running.tmux.value(pane, "session_name")


def test_an_agent_stays_the_same_when_its_window_is_renamed_or_moved(
    running: TestNode, tmp_path: Path
) -> None:
    agent = raw(running, tmp_path)
    other = running.tmux.open("sleep 1000")
    for number, (what, move) in enumerate(moves(running, agent.pane, other)):
        move()
        assert running.send_wait("raw", f"message {number}")["state"] == "submitted", what
        assert f"message {number}".encode() in agent.bytes(), what
        here = (session(running, agent.pane), running.tmux.value(agent.pane, "window_name"))

        def shown(here: tuple[str, str] = here) -> bool:
            (record,) = running.call("agents")
            return (record["pane"], record["session"], record["window"]) == (agent.pane, *here)

        until(shown, 45, f"the place of an agent that was {what}")
