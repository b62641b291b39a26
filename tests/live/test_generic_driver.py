"""The generic driver delivers into real agents that it was not made for: each message once, on proof."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass

import pytest

from tests.lab.agent_lab import AgentLab
from tests.lab.install import AGENTS
from tests.live.agent_node import agent_node, needs
from tests.support.node import until

MESSAGES = 20
BODIES = (
    "short [[g-{n}]]",
    "/help [[g-{n}]]",
    "!ls [[g-{n}]]",
    "two lines\nof the message [[g-{n}]]",
    "[[g-{n}]] " + "a rather long text of many words " * 12,
    "ends in a reference [[g-{n}]] @REA",
    "ends in a backslash [[g-{n}]] \\",
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One agent of the lab; aider takes one line at a time, so it gets no text of two."""

    name: str

    @property
    def lab(self) -> type[AgentLab]:
        module = importlib.import_module(f"tests.lab.{self.name}")
        return next(
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, AgentLab) and value is not AgentLab
        )

    def bodies(self) -> list[str]:
        kinds = [body for body in BODIES if self.name != "aider" or "\n" not in body]
        return [kinds[n % len(kinds)].replace("{n}", str(n)) for n in range(MESSAGES)]


def _has_lab(name: str) -> bool:
    return importlib.util.find_spec(f"tests.lab.{name}") is not None


KINDS = [Kind(name) for name in AGENTS if _has_lab(name)]

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


@pytest.mark.long
@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.name, marks=needs(kind.lab)) for kind in KINDS])
def test_twenty_messages_into_an_idle_agent_end_submitted_and_reach_the_model_once(kind: Kind) -> None:
    with agent_node(kind.lab, hooked=False, driver="generic") as agent:
        for number, body in enumerate(kind.bodies()):
            until(lambda: agent.state == "idle", 60, f"{kind.name} idle, {agent.lab.capture()}")
            receipt = agent.node.wait_state(
                agent.send(body), "submitted", "unconfirmed", "failed", timeout_s=60
            )
            assert receipt["state"] == "submitted", (receipt, agent.lab.capture())
            agent.wait_received(f"[[g-{number}]]", timeout_s=60)
        assert [agent.received(f"[[g-{n}]]") for n in range(MESSAGES)] == [1] * MESSAGES
