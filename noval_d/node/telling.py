"""Tell who watches a node what happens to its agents and messages, and senders elsewhere what became of theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nova_torch.values import AgentId, Hop, Message
from noval_d.agents.agent import Agent
from noval_d.agents.attention import Attention
from noval_d.agents.states import Transition
from noval_d.node.news import agent_event, hop_event, unprocessed_event
from noval_d.tasks.tasks import UNDELIVERED

if TYPE_CHECKING:
    from noval_d.node.node import Node


class Telling:
    """What parts call when something happened."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def __repr__(self) -> str:
        return f"<Telling of {self._node.name} readers={self._node.events.readers}>"

    def agent(self, agent: Agent, news: Transition | Attention | None) -> None:
        """An agent's state has changed, or what it needs a person for."""
        node = self._node
        node.events.publish(agent_event(agent, news, at_ms=node.clock_ms(), node=node.name))
        node.tasks.wake()
        node.watcher.soon()

    def unprocessed(self, agent: Agent) -> None:
        """Nothing comes of what an agent has acknowledged."""
        node = self._node
        node.events.publish(unprocessed_event(agent, at_ms=node.clock_ms(), node=node.name))

    def hop(self, hop: Hop, agent: AgentId) -> None:
        """Something has become of a message that was sent from here."""
        node = self._node
        node.hops.publish((hop, agent))
        if hop.state in UNDELIVERED:
            node.tasks.wake()
        if node.events.readers:
            node.events.publish(hop_event(hop, agent, node.outbox.find(hop.message)))

    def receipt(self, message: Message, hop: Hop) -> None:
        """Something has become of a message from elsewhere: its sender gets a receipt."""
        node = self._node
        node.receipts.post(message.origin, hop)
        if node.events.readers:
            node.events.publish(hop_event(hop, AgentId(message.headers.get("agent", "")), message))
