"""Answer the calls about messages: send, follow, trace, watch, inbox, dead letters."""

from __future__ import annotations

import pwd
from collections.abc import AsyncIterator, Mapping
from typing import Any

from nova_torch.errors import (
    AgentNotFound,
    InvalidRequest,
    MessageNotFound,
    ShuttingDown,
)
from nova_torch.nearest import suggestion
from nova_torch.values import (
    UNDELIVERED,
    AgentId,
    Kind,
    Message,
    MessageId,
    Priority,
    State,
)
from noval_d.calls.base import Base
from noval_d.control.args import Args
from noval_d.control.calls import Access, Peer
from noval_d.mailroom.ledger import Ledger, Phase
from noval_d.node.news import public

INBOX_ROWS = 50
DEAD_ROWS = 100


class Messages(Base):
    """One method a call."""

    async def send(self, peer: Peer, args: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Accept a message; as a stream, follow it until `wait` is satisfied."""
        if self._node.stopping.is_set():
            raise ShuttingDown(
                "the daemon is stopping and takes no new messages.", "Send it again in a moment."
            )
        asked = Args(args)
        message = await self._message(peer, asked)
        async for receipt in self._node.orchestrator.updates(message, asked.optional_text("wait")):
            yield receipt.to_json()

    async def follow(self, _peer: Peer, args: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Return a message's receipt; as a stream, every change of it too."""
        async for receipt in self._node.follow(Args(args).text("id")):
            yield receipt.to_json()

    async def trace(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return every hop of a message."""
        message = MessageId(Args(args).text("id"))
        receipt = self._node.outbox.receipt(message)
        hops = [
            {"at_ms": hop.at_ms, "node": hop.node, "state": hop.state.value, "reason": hop.reason}
            for hop in self._node.outbox.hops(message)
        ]
        known = self._node.ledger.find(message)
        typed = {"attempt": known.attempt, "pane": known.pane} if known is not None else {}
        return {**receipt.to_json(), "hops": hops, "typed": typed}

    async def watch(self, peer: Peer, args: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Stream the events of the message flow."""
        agent = Args(args).optional_text("agent")
        with self._node.events.subscribe(lambda event: agent is None or event["agent"] == agent) as events:
            yield {"node": self._node.name}
            async for event in events:
                yield event if peer.access >= Access.WRITE else public(event)

    async def inbox(self, _peer: Peer, args: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return an agent's messages, the newest last."""
        asked = Args(args)
        name = asked.optional_text("agent")
        if name is None:
            found = self._agent_of(asked)
            if found is None:
                raise InvalidRequest("this pane is no agent's.", "Name one: novactl inbox AGENT")
            name = found.id
        agent = self._node.roster.get(name)
        limit = asked.optional_integer("limit", least=1, most=1000) or INBOX_ROWS
        worker = self._node.roster.workers[agent.id]
        rows = {
            entry.message.id: self._inbox_row(entry.message, entry.state, entry.reason)
            for entry in self._node.ledger.recent(agent.id, limit)
        }
        for item in worker.items:
            state, reason = item.told if item.told[0] else (State.QUEUED.value, "")
            rows[item.message.id] = self._inbox_row(item.message, State(state), reason)
        return sorted(rows.values(), key=lambda row: str(row["id"]))[-limit:]

    async def dead_list(self, _peer: Peer, args: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the last messages that were not delivered."""
        asked = Args(args)
        agent = asked.optional_text("agent")
        limit = asked.optional_integer("limit", least=1, most=1000) or DEAD_ROWS
        return [
            {
                "id": entry.message.id,
                "agent": entry.agent,
                "sender": entry.message.sender,
                "state": entry.state.value,
                "reason": entry.reason,
                "at_ms": at_ms,
                "body_bytes": len(entry.message.body.encode()),
            }
            for entry, at_ms in self._node.ledger.undelivered(agent, limit)
        ]

    async def dead_retry(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Order an undelivered message to be typed again."""
        message = self._dead(Args(args).text("id"))
        node = self._node
        entry = node.ledger.find(message)
        assert entry is not None
        if entry.agent not in node.roster.agents:
            raise AgentNotFound(f"agent {entry.agent} is no longer registered here.", "Register it first.")
        await node.desk.reopen(entry.message)
        node.inbox.restore()
        return {"id": message, "state": State.QUEUED.value}

    async def dead_drop(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Take an undelivered message off the list."""
        message = self._dead(Args(args).text("id"))
        await self._node.store.write(Ledger.dropped(message, self._node.clock_ms()))
        return {"id": message}

    async def _message(self, peer: Peer, asked: Args) -> Message:
        target = asked.text("target")
        agent = await self._resolve(target)
        caller = self._agent_of(asked)
        sender = asked.optional_text("sender") or (caller.id if caller is not None else _person(peer))
        return self._node.orchestrator.compose(
            target,
            asked.payload("body"),
            message_id=asked.optional_text("id"),
            sender=sender,
            priority=asked.optional_text("priority") or Priority.NORMAL,
            kind=asked.optional_text("kind") or Kind.MESSAGE,
            ttl_s=asked.optional_number("ttl_s"),
            form=asked.optional_text("form") or "auto",
            correlation_id=asked.optional_text("correlation_id") or "",
            reply_to=asked.optional_text("reply_to") or "",
            headers={"origin": self._node.name, "agent": agent},
        )

    async def _resolve(self, target: str) -> AgentId:
        """Return the agent that `target` names: an id here or elsewhere, or a local pane as session:window."""
        roster = self._node.roster
        if target in roster.agents:
            return AgentId(target)
        if ":" in target and not target.startswith(("role:", "skill:", "node:")):
            pane_id = await self._target(target)
            agent = roster.of_pane(pane_id)
            if agent is None:
                raise AgentNotFound(
                    f"pane {target} is no registered agent.", f"First: novactl register NAME --pane {target}"
                )
            return agent.id
        others = {str(record["agent_id"]) for record in await self._elsewhere()}
        if target in others:
            return AgentId(target)
        known = [*roster.agents, *others]
        cure = suggestion(target, known, otherwise="See them all: novactl agents")
        raise AgentNotFound(f"no agent {target!r} is registered.", cure)

    def _dead(self, text: str) -> MessageId:
        message = MessageId(text)
        entry = self._node.ledger.find(message)
        if entry is None or entry.phase is not Phase.SETTLED or entry.state not in UNDELIVERED:
            raise MessageNotFound(
                f"no undelivered message {text} is known here.", "List them: novactl dead list"
            )
        return message

    @staticmethod
    def _inbox_row(message: Message, state: State, reason: str) -> dict[str, Any]:
        return {
            "id": message.id,
            "sender": message.sender,
            "state": state.value,
            "reason": reason,
            "priority": message.priority.value,
            "created_ms": message.created_ms,
            "body": message.body,
        }


def _person(peer: Peer) -> str:
    try:
        return f"user:{pwd.getpwuid(peer.uid).pw_name}"
    except KeyError:
        return f"user:{peer.uid}"
