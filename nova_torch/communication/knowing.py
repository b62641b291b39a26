"""What is known of messages, agents and nodes: questions that change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nova_torch import arguments
from nova_torch.communication.base import Base
from nova_torch.fleet import Presence, matching
from nova_torch.history import MessageRecord
from nova_torch.registry import Query
from nova_torch.values import AgentRecord, Receipt


class Knowing(Base):
    """The methods that ask what is."""

    async def receipt(self, message_id: str) -> Receipt:
        """Return the present receipt of a message. Raises MessageNotFound."""
        async for receipt in self._postbox.follow(arguments.text("message_id", message_id)):
            return receipt
        raise AssertionError("a followed message has a receipt")

    async def agents(self, *, role: str | None = None, skills: Sequence[str] = ()) -> list[AgentRecord]:
        """Return the agents of the fleet by name; all of `skills` must match."""
        role, wanted = arguments.optional_text("role", role), arguments.texts("skills", skills)
        return matching(await self._road.agents(), role=role, skills=wanted)

    async def found(self, query: Query) -> list[AgentRecord]:
        """Return the agents that match a query, by name."""
        return await self._road.agents(query)

    async def ping(self, name: str) -> Presence:
        """Return what the fleet knows of an agent, or of a node (`node:NAME`): its state and when it was seen.

        It is the word of the agent's daemon; of an agent whose node's lease is over the state is `lost`. Raises
        AgentNotFound or NotFound with the nearest name.
        """
        return await self._road.presence(arguments.text("name", name))

    async def trace(self, message_id: str) -> dict[str, Any]:
        """Return every hop of a message: `{id, state, hops: [{at_ms, node, state, reason}]}`."""
        return await self._road.trace(arguments.text("message_id", message_id))

    async def history(
        self, *, agent: str | None = None, sender: str | None = None, limit: int = 50
    ) -> list[MessageRecord]:
        """Return the last messages that this node sent or received, the newest last.

        With `agent` those for that agent, with `sender` those from that one. The broker keeps no message that was
        taken out of its mailbox, so without a daemon every node of the fleet that lives is asked, and what waits in
        mailboxes is added, which is all that is known of agents whose nodes are away. Of the messages of one node
        the last MiB of bodies comes along; `body` is None before that. Raises TimedOut when a node whose lease
        holds does not answer within 15 s.
        """
        args = {
            "agent": arguments.optional_text("agent", agent),
            "sender": arguments.optional_text("sender", sender),
            "limit": arguments.whole("limit", limit, least=1, most=1000),
        }
        rows = await self._road.call("history", args, what="messages are remembered by daemons")
        return [MessageRecord.from_json(row) for row in rows]
