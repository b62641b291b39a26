"""A hook that could not tell the daemon in time is heard all the same, while the daemon runs."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from novactl import shim
from tests.support.agents import Tui, tui
from tests.support.node import ROOT, TestNode, node, until

PERSON = "a person's own prompt"


@pytest.fixture(scope="module")
def made() -> Iterator[TestNode]:
    with node() as made:
        yield made


def unheard(made: TestNode, folder: Path) -> Tui:
    """Open an agent whose hooks never reach the daemon's socket; a person has given it a prompt."""
    hook = ["env", "NOVA_SOCKET=/nowhere", f"NOVA_STATE_DIR={made.state}", f"PYTHONPATH={ROOT}"]
    words = shlex.join([*hook, sys.executable, "-m", "novactl.main", "hook"])
    agent = tui(made, folder, "unheard", hooks=True, busy_s=1.0, arguments=("--hook", words))
    agent.draft(PERSON)
    agent.wait_for(PERSON)
    agent.press("Enter")
    agent.wait_prompts(1)
    until(lambda: record(made, agent)["state_source"] == "hook", what="the hook that was kept")
    return agent


def record(made: TestNode, agent: Tui) -> dict[str, Any]:
    (found,) = (a for a in made.call("agents") if a["agent_id"] == agent.name)
    return dict(found)


def keep(made: TestNode, agent: Tui, event: str, at_ms: int, *, sent: bool = False) -> None:
    """Keep a call as a hook of this agent does that ran then."""
    call: dict[str, object] = {
        "pane": agent.pane,
        "tmux": f"{made.tmux.socket_path},{made.tmux.value(agent.pane, 'pid')},0",
        "event": event,
        "payload": b"{}",
        "at_ms": at_ms,
        "sent": sent,
    }
    shim.keep(call, str(made.state / "hooks.spool"))


def read(made: TestNode) -> bool:
    return not any((made.state / name).exists() for name in ("hooks.spool", "hooks.spool.reading"))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def test_what_a_kept_hook_proves_is_acknowledged_by_the_running_daemon(
    made: TestNode, tmp_path: Path
) -> None:
    agent = unheard(made, tmp_path)
    message = made.send(agent.name, "proven by and by")["id"]
    made.wait_state(message, "acknowledged")
    assert agent.prompts() == [PERSON, "proven by and by"]
    agent.wait_state("idle")
    assert read(made)


def test_an_older_hook_that_comes_late_does_not_change_the_state(made: TestNode, tmp_path: Path) -> None:
    agent = tui(made, tmp_path, "busy", hooks=True, busy_s=60.0)
    before_ms = now_ms()
    made.wait_state(made.send(agent.name, "work")["id"], "acknowledged")
    agent.wait_state("busy")
    since_ms = record(made, agent)["state_since_ms"]
    for sent, at_ms in ((False, before_ms), (True, now_ms())):  # the second was told to this daemon already
        keep(made, agent, "Stop", at_ms, sent=sent)
    until(lambda: read(made), what="the calls that were kept")
    assert (agent.state(), record(made, agent)["state_since_ms"]) == ("busy", since_ms)
    keep(made, agent, "Stop", now_ms())
    until(lambda: record(made, agent)["state_since_ms"] != since_ms, what="the newest one")


def test_a_spool_that_cannot_be_read_stops_nobody() -> None:
    with node(start=False) as made:
        for times in (1, 2):  # before the start, and behind it
            (made.state / "hooks.spool").mkdir()
            if times == 1:
                made.start()
            until(lambda: made.log().count("node.spool_unreadable") == times, what="a word of it")  # noqa: B023
        assert made.call("ping")
