"""States of agents with their sources, as a whole node tells them: in agents, status and the event stream."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nova_torch.errors import NovaError
from nova_torch.protocol.client import Client
from tests.support.agents import tui
from tests.support.node import TestNode, node, until


@pytest.fixture(scope="module")
def running() -> Iterator[TestNode]:
    with node() as made:
        yield made


class Watched:
    """The events of one agent, as they come."""

    def __init__(self, running: TestNode, agent: str) -> None:
        self.events: list[dict[str, Any]] = []
        self._client = Client.connect(running.socket, 5.0)
        self._began = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(agent,), daemon=True)
        self._thread.start()
        assert self._began.wait(5)

    def _read(self, agent: str) -> None:
        with contextlib.suppress(NovaError, OSError, ValueError):
            for event in self._client.stream("watch", {"agent": agent}, None):
                self.events.append(event)
                self._began.set()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._client.close()

    def wait(self, wanted: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        found: dict[str, Any] = until(
            lambda: next((event for event in self.events if wanted(event)), None),
            what=f"{what}: {self.events}",
        )
        return found

    def state(self, state: str, source: str, before: str | None = None) -> dict[str, Any]:
        return self.wait(
            lambda event: (
                event.get("event") == "agent.state"
                and (event["state"], event["source"]) == (state, source)
                and before in (None, event["before"])
            ),
            f"{state} by {source}",
        )


@contextlib.contextmanager
def watched(running: TestNode, agent: str) -> Iterator[Watched]:
    made = Watched(running, agent)
    try:
        yield made
    finally:
        made.close()


def record(running: TestNode, name: str) -> dict[str, Any]:
    return next(dict(row) for row in running.call("agents") if row["agent_id"] == name)


def test_what_a_screen_shows_is_told_although_no_message_waits(running: TestNode, tmp_path: Path) -> None:
    agent = tui(running, tmp_path, "screens", busy_s=0.5)
    with watched(running, "screens") as seen:
        agent.draft("half a thought")
        draft = seen.state("draft", "screen")
        assert (draft["node"], draft["before"]) == ("test-node", "idle")
        assert "half a thought" in draft["shown"]
        assert "half a thought" not in draft["detail"]
        needs = seen.wait(lambda event: event.get("reason") == "draft", "the draft's attention")
        assert needs["open"] == "novactl attach screens"
        agent.press("C-u")
        seen.state("idle", "screen", before="draft")
        seen.wait(lambda event: event.get("event") == "agent.attention" and not event["reason"], "its end")
        agent.ask_permission()
        dialog = seen.state("dialog", "screen")
        assert dialog["shown"] == "Do you want to proceed?"
        agent.press("Escape")
        seen.state("idle", "screen", before="dialog")


def test_what_a_hook_reports_is_told_with_its_source(running: TestNode, tmp_path: Path) -> None:
    agent = tui(running, tmp_path, "hooks", busy_s=1.0, hooks=True)
    with watched(running, "hooks") as seen:
        agent.draft("go")
        agent.press("Enter")
        seen.state("busy", "hook")
        seen.state("idle", "hook", before="busy")
    assert record(running, "hooks")["state_source"] == "hook"


def test_an_operator_and_an_exit_are_told_and_messages_that_wait_need_a_person(
    running: TestNode, tmp_path: Path
) -> None:
    agent = tui(running, tmp_path, "leaving", shell=True)
    with watched(running, "leaving") as seen:
        running.call("pause", {"agent_id": "leaving"})
        seen.state("paused", "operator")
        running.call("resume", {"agent_id": "leaving"})
        seen.state("idle", "screen", before="paused")
        agent.press("C-d")
        seen.state("exited", "process")
        assert record(running, "leaving")["attention"] == ""
        message = running.send("leaving", "are you there?")
        running.wait_state(message["id"], "held")
        needs = seen.wait(lambda event: event.get("reason") == "exited", "its attention")
        assert "messages wait" in needs["detail"]
        (row,) = (row for row in running.call("status")["attention"] if row["agent"] == "leaving")
        assert (row["reason"], row["open"]) == ("exited", "novactl attach leaving")


def test_a_delivery_is_no_draft_of_anybody(running: TestNode, tmp_path: Path) -> None:
    tui(running, tmp_path, "typed", busy_s=0.2)
    with watched(running, "typed") as seen:
        for number in range(3):
            running.send_wait("typed", f"message {number} of some length\nin two lines")
        seen.wait(lambda event: event.get("state") == "submitted", "a delivery")
        assert not [event for event in seen.events if event.get("state") == "draft"]


def test_status_names_the_source_and_the_question_and_what_opens_it(
    running: TestNode, tmp_path: Path
) -> None:
    agent = tui(running, tmp_path, "asking")
    agent.ask_permission()
    agent.wait_state("dialog")
    status = json.loads(running.novactl("status", "--json").stdout)
    (state,) = (row for row in status["states"] if row["agent"] == "asking")
    assert (state["state"], state["source"]) == ("dialog", "screen")
    (needs,) = (row for row in status["attention"] if row["agent"] == "asking")
    assert (needs["reason"], needs["shown"]) == ("dialog", "Do you want to proceed?")
    shown = running.novactl("status").stdout
    assert "novactl attach asking" in shown
    assert "Do you want to proceed?" in running.novactl("agents").stdout
