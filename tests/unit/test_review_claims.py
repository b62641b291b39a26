"""What is no proof: another's prompt of the same words, a terminal nobody can ask, a pane the agent has left."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest

from nova_torch.communication import compose
from nova_torch.errors import InvalidRequest, PaneNotFound
from nova_torch.ulid import new_ulid
from nova_torch.values import AgentId, AgentSpec, HoldReason, Message, MessageId, PaneId
from noval_d.agents import agent as agent_module
from noval_d.agents.agent import Agent
from noval_d.agents.driver_file import load_drivers
from noval_d.agents.sight import Sight
from noval_d.delivery.gate import Hold, decide
from noval_d.delivery.item import Item
from noval_d.delivery.lines import guard
from noval_d.delivery.steps import Look, Progress, untouched
from noval_d.delivery.template import dress
from noval_d.delivery.view import AgentView
from noval_d.delivery.worker import UNPROVEN, Worker
from noval_d.mailroom.ledger import Phase
from noval_d.node.directory import locked, message_directory
from noval_d.tmux import tty
from noval_d.tmux.panes import Observation, PaneFacts
from tests.support.aio import run

DRIVERS = load_drivers()


def facts(pane: str = "%1", pid: int = 10, command: str = "cat", agent: str = "a") -> PaneFacts:
    return PaneFacts(
        pane_id=PaneId(pane),
        pid=pid,
        tty="/nowhere",
        command=command,
        dead=False,
        in_mode=False,
        input_off=False,
        synchronized=False,
        title="",
        session="s",
        window_index=0,
        window_name="w",
        cursor_x=0,
        cursor_y=0,
        cursor_visible=True,
        width=80,
        height=24,
        nova_agent=agent,
        nova_node="n",
    )


def line_agent(driver: str = "line") -> Agent:
    spec = AgentSpec(agent_id=AgentId("a"), role="", skills=(), driver=driver, program="cat")
    made = Agent(spec=spec, driver=DRIVERS[driver], clock=lambda: 1.0, clock_ms=lambda: 1)
    made.moved(facts(), "1.1")
    return made


def message(body: str = "continue", sender: str = "user:x") -> Message:
    return Message(
        id=MessageId("01ARZ3NDEKTSV4RRFFQ69G5FAV"), sender=sender, target="a", body=body, created_ms=0
    )


def worker(agent: Agent) -> Worker:
    unused: Any = None
    return Worker(
        agent,
        link=unused,
        injector=unused,
        desk=AsyncMock(),
        lease_ok=lambda _: True,
        overtaken=unused,
        max_attempts=5,
        server_alive=lambda _: True,
    )


def test_an_input_box_has_rested_since_it_was_seen_without_work() -> None:
    agent = line_agent("aider")
    seen: list[float | None] = []
    for now, sight in enumerate(
        [
            Sight(composer=None, busy=True),
            Sight(composer=""),
            Sight(composer=""),
            Sight(composer=None),
            Sight(composer=""),
        ]
    ):
        agent.clock, agent.sight = (lambda now=now: float(now)), sight  # type: ignore[misc]
        agent._follow_screen()
        seen.append(agent.rested_since)
    assert seen == [None, 1.0, 1.0, None, 4.0]


@pytest.mark.parametrize("pasting", [True, False])
def test_a_prompt_that_comes_before_the_paste_ran_is_not_ours(pasting: bool) -> None:
    async def hear() -> bool:
        made = worker(line_agent("claude"))
        item = Item(message=message(), agent=AgentId("a"), arrival=0, phase=Phase.TYPING, pasting=pasting)
        made.put(item)
        await made.hearing.acknowledge("continue")
        return item.acknowledged

    assert run(hear()) is not pasting


def test_a_text_that_stands_untouched_in_the_composer_was_not_sent() -> None:
    look = Look(here=True, composer="continue", dialog=False, acknowledged=True)
    progress = Progress(pasted_at=0.0)
    assert untouched(progress, look)
    assert not untouched(replace(progress, enters=1), look)
    assert not untouched(replace(progress, resumed=True), look)
    assert not untouched(progress, replace(look, here=False))


def test_what_a_look_brings_of_a_pane_that_the_agent_left_meanwhile_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agent = line_agent()
    asked: list[str] = []

    async def observe(_: object, pane: PaneId, *, capture: bool) -> Observation:
        assert not capture
        asked.append(pane)
        if pane == "%1":
            agent.moved(facts("%2", 20), "1.1")
        return Observation(facts=facts(pane, 10 if pane == "%1" else 20), screen=None)

    monkeypatch.setattr(agent_module, "observe", observe)

    async def view() -> AgentView:
        client: Any = None
        return await agent.view(client)

    seen = run(view())
    assert asked == ["%1", "%2"]
    assert seen.facts is not None
    assert (seen.facts.pane_id, agent.pane_key) == ("%2", "1.1/%2/20")


def test_a_pane_that_lost_its_agents_name_is_no_place_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = line_agent()

    async def observe(_: object, pane: PaneId, *, capture: bool) -> Observation:
        await asyncio.sleep(0)
        return Observation(facts=facts(pane, agent="" if not capture else "a"), screen=None)

    monkeypatch.setattr(agent_module, "observe", observe)
    client: Any = None
    seen = run(agent.view(client))
    assert seen.facts is None
    decision = decide(message(), seen, 1)
    assert isinstance(decision, Hold)
    assert decision.reason is HoldReason.NO_AGENT
    assert "#{@nova_agent}" in guard(facts())
    assert "#{@nova_node}" in guard(facts())
    assert " a n cat}" in guard(facts())


def test_an_exit_that_a_look_sees_first_forgets_what_hooks_told() -> None:
    agent = line_agent("claude")
    agent.moved(facts(command="claude"), "1.1")
    agent.started = agent.working = agent.hooked = True
    agent._take(facts(command="bash"), "1.1")
    agent._take(facts(command="claude"), "1.1")
    assert [agent.started, agent.working, agent.hooked] == [False, False, None]


def test_a_terminal_that_cannot_be_asked_holds_a_line_and_stops_no_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agent = line_agent()

    async def observe(_: object, pane: PaneId, *, capture: bool) -> Observation:
        del capture
        return Observation(facts=facts(pane), screen=None)

    monkeypatch.setattr(agent_module, "observe", observe)
    with pytest.raises(PaneNotFound):
        tty.unread_bytes("/nowhere")
    client: Any = None
    seen = run(agent.view(client))
    assert not seen.terminal
    decision = decide(message(), seen, 1)
    assert isinstance(decision, Hold)
    assert decision.reason is HoldReason.NOT_READING


@pytest.mark.parametrize("sender", ["x\x1b[201~\r", "two\nlines", "bell\x07"])
def test_a_senders_name_types_nothing_but_itself(sender: str) -> None:
    typed = dress(DRIVERS["claude"], message("hello", sender))
    assert "\x1b" not in typed
    assert "\r" not in typed
    assert "\x07" not in typed
    assert typed.count("\n") == 1
    with pytest.raises(InvalidRequest):
        compose("a", "hello", now_ms=0, sender=sender)


def test_what_a_pane_shows_stands_apart_from_what_readers_may_see() -> None:
    sight = Sight(composer="my secret draft")
    view = AgentView(driver=DRIVERS["claude"], facts=facts(command="claude"), sight=sight)
    decision = decide(message(), view, 1)
    assert isinstance(decision, Hold)
    assert "secret" not in decision.detail
    assert "secret" in decision.shown
    dialog = replace(view, sight=Sight(composer=None, dialog="Run rm -rf secret?"))
    decision = decide(message(), dialog, 1)
    assert isinstance(decision, Hold)
    assert "secret" not in decision.detail


def test_submitted_messages_that_no_hook_has_told_of_take_room_too() -> None:
    busy = worker(line_agent())
    for _ in range(UNPROVEN):
        busy.put(
            Item(
                message=replace(message(), id=MessageId(new_ulid())),
                agent=AgentId("a"),
                arrival=0,
                phase=Phase.ENTERED,
            )
        )
    assert busy.room == 0


def test_a_directory_that_another_user_made_in_shared_memory_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = message_directory(tmp_path)
    assert wanted.parent == Path("/dev/shm")
    wanted.mkdir()
    try:
        assert message_directory(tmp_path) == wanted
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        assert message_directory(tmp_path) == tmp_path / "messages"
    finally:
        wanted.rmdir()


def test_a_node_that_ends_leaves_no_empty_directory_in_shared_memory(tmp_path: Path) -> None:
    made = message_directory(tmp_path)
    assert made.parent == Path("/dev/shm")
    for name in ("m-1-1", ""):  # what tmux may have been told to read stays until the next start
        with locked(str(tmp_path)):
            made.mkdir(exist_ok=True)
            if name:
                (made / name).touch()
        assert made.exists() == bool(name)
        (made / "m-1-1").unlink(missing_ok=True)
