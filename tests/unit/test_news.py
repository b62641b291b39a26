from __future__ import annotations

from typing import Any

import pytest

from nova_torch.values import AgentId, AgentSpec, NodeId
from noval_d.agents.agent import Agent
from noval_d.agents.attention import attention
from noval_d.agents.dialogs import read_dialog
from noval_d.agents.sight import look
from noval_d.agents.states import Signs, Transition, stand
from noval_d.delivery.answer import Answered
from noval_d.node.news import agent_event, answer_event, public
from tests.support.screens import CLAUDE, CLAUDE_SCREENS

NODE = NodeId("here")
SCREENS = ("permission_bash", "draft_one_line", "limit_reached", "limit_dialog", "trust_dialog")


def agent() -> Agent:
    return Agent(spec=AgentSpec(agent_id=AgentId("a")), driver=CLAUDE, clock=lambda: 0.0, clock_ms=lambda: 1)


def told(name: str) -> list[dict[str, Any]]:
    """Return the events of an agent whose pane comes to show a recorded screen, and is answered if it asks."""
    screen = CLAUDE_SCREENS[name].screen
    standing = stand(Signs(pane=True, sight=look(CLAUDE, screen)))
    news = (Transition(before=standing.state, now=standing), attention(standing, 0))
    events = [agent_event(agent(), each, at_ms=1, node=NODE) for each in news]
    dialog = read_dialog(CLAUDE, screen)
    if dialog is not None:
        done = Answered(option=dialog.options[0], answered=dialog, outcome="gone", now=None)
        events.append(answer_event(agent(), done, by="user:kim", at_ms=1, node=NODE))
    return events


@pytest.mark.parametrize("name", SCREENS)
def test_what_a_pane_shows_is_in_events_of_writers_and_not_in_those_of_readers(name: str) -> None:
    events = told(name)
    assert events
    for event in events:
        assert event["shown"], event
        seen = str(public(event))
        assert event["shown"] not in seen
        assert not any(option in seen for option in ("Yes", "touch", "trust", "session limit"))


def test_an_event_names_the_agent_its_node_and_its_state() -> None:
    events = told("permission_bash")
    assert events
    for event in events:
        assert {"at_ms", "event", "agent", "state", "node"} <= event.keys()
        assert (event["agent"], event["node"]) == ("a", "here")
