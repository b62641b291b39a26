"""A message that was acknowledged and on which nobody works is noticed."""

from __future__ import annotations

import json
from pathlib import Path

from nova_torch.protocol.client import Client
from tests.support.agents import Tui, tui
from tests.support.node import TestNode, node, until

LIMIT_S = 4.0


def acknowledge(running: TestNode, agent: Tui, body: str) -> str:
    """Have the agent take a message, and its prompt hook report that, and nothing else."""
    message = running.send(agent.name, body)["id"]
    agent.wait_prompts(1)
    prompt = json.dumps({"prompt": agent.prompts()[-1]}).encode()
    running.call("hook", {"pane": agent.pane, "event": "UserPromptSubmit", "payload": prompt})
    running.wait_state(message, "acknowledged")
    return str(message)


def codes(running: TestNode) -> list[str]:
    return [finding["code"] for finding in running.call("status")["health"]]


def test_an_agent_that_acknowledged_and_does_not_work_is_a_warning_until_it_does(tmp_path: Path) -> None:
    with node(env={"NOVA_DELIVERY_PROCESSED_WARNING_S": str(LIMIT_S)}) as running:
        agent = tui(running, tmp_path, "hangs")
        with Client.connect(running.socket, 5.0) as client:
            events = client.stream("watch", {"agent": "hangs"}, 40.0)
            next(events)
            message = acknowledge(running, agent, "do something")
            assert "not_processed" not in codes(running)
            event = next(event for event in events if event["event"] == "agent.unprocessed")
        assert event["id"] == message
        assert "not_processed" in codes(running)
        assert message in running.novactl("doctor").stdout
        running.call("hook", {"pane": agent.pane, "event": "Stop", "payload": b"{}"})
        until(lambda: "not_processed" not in codes(running), 45, "the end of the warning")


def test_an_agent_that_works_is_no_warning(tmp_path: Path) -> None:
    with node(env={"NOVA_DELIVERY_PROCESSED_WARNING_S": "1.0"}) as running:
        agent = tui(running, tmp_path, "works", busy_s=1.5, hooks=True)
        message = running.send("works", "do something")["id"]
        running.wait_state(message, "acknowledged")
        agent.wait_state("idle")
        assert "not_processed" not in codes(running)
