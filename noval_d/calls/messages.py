"""Answer the calls about messages: send, follow, trace, watch, dead letters."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from nova_torch.communication.compose import ANSWERS
from nova_torch.errors import (
    AgentNotFound,
    MessageNotFound,
    ShuttingDown,
)
from nova_torch.events import Filter
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
from noval_d.calls.talks import Talks
from noval_d.control.args import Args
from noval_d.control.calls import Access, Peer
from noval_d.delivery.template import is_agent
from noval_d.mailroom.history import remembered
from noval_d.mailroom.ledger import Ledger, Phase
from noval_d.node.news import public

DEAD_ROWS = 100
HISTORY_ROWS = 50


class Messages(Talks):
    """One method a call."""

    async def send(self, peer: Peer, args: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Accept a message; as a stream, follow it until `wait` is satisfied."""
        if self._node.stopping.is_set():
            raise ShuttingDown(
                "the daemon is stopping and takes no new messages.", "Send it again in a moment."
            )
        asked = Args(args)
        wait = asked.optional_text("wait")
        message = await self._message(peer, asked, wait)
        waiting = self._node.talk.waiting(message.id) if wait == "replied" else contextlib.nullcontext()
        with waiting:
            async for receipt in self._node.orchestrator.updates(message, wait):
                yield receipt.to_json()

    async def follow(self, _peer: Peer, args: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Return a message's receipt; as a stream, every change of it too."""
        asked = Args(args)
        async for receipt in self._node.postbox.follow(asked.text("id"), replied=asked.flag("replied")):
            yield receipt.to_json()

    async def trace(self, peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return every hop of a message."""
        message = MessageId(Args(args).text("id"))
        receipt = self._node.outbox.receipt(message)
        hops = [
            {"at_ms": hop.at_ms, "node": hop.node, "state": hop.state.value, "reason": hop.reason}
            for hop in self._node.outbox.hops(message)
        ]
        known = self._node.ledger.find(message)
        typed = {"attempt": known.attempt, "pane": known.pane} if known is not None else {}
        told = {**receipt.to_json(), "hops": hops, "typed": typed}
        return (
            told if receipt.state is not State.REPLIED else {**told, "reply": self._reply_of(peer, receipt)}
        )

    async def watch(self, peer: Peer, args: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Stream the events of the message flow."""
        asked = Args(args)
        wanted = Filter(
            agent=asked.optional_text("agent"),
            sender=asked.optional_text("sender"),
            state=asked.optional_text("state"),
            priority=asked.optional_choice("priority", [priority.value for priority in Priority]),
        )
        with self._node.events.subscribe(wanted.wants) as events:
            yield {"node": self._node.name}
            async for event in events:
                yield event if peer.access >= Access.WRITE else public(event)

    async def history(self, peer: Peer, args: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the last messages that were sent from here or received here, the newest last."""
        asked = Args(args)
        agent, sender = asked.optional_text("agent"), asked.optional_text("sender")
        limit = asked.optional_integer("limit", least=1, most=1000) or HISTORY_ROWS
        rows = remembered(
            self._node.outbox,
            self._node.ledger,
            agent=agent,
            sender=sender,
            limit=limit,
            private=peer.access >= Access.WRITE,
        )
        return [row.to_json() for row in rows]

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

    async def _message(self, peer: Peer, asked: Args, wait: str | None) -> Message:
        target = asked.text("target")
        named = asked.optional_text("id")
        known = self._node.outbox.agent_of(MessageId(named)) if named is not None else None
        agent = known or await self._resolve(target)  # what was taken once is known, whoever is gone now
        sender = self._sender(peer, asked)
        answer = asked.optional_choice("answer", ANSWERS) or ("wanted" if wait == "replied" else "")
        return self._node.orchestrator.compose(
            target,
            asked.payload("body"),
            message_id=named,
            sender=sender,
            priority=asked.optional_text("priority") or Priority.NORMAL,
            kind=asked.optional_text("kind") or Kind.MESSAGE,
            ttl_s=asked.optional_number("ttl_s"),
            form=asked.optional_text("form") or "auto",
            correlation_id=asked.optional_text("correlation_id") or "",
            reply_to=asked.optional_text("reply_to") or "",
            answer=answer,
            headers={"origin": self._node.name, "agent": agent, "answers": await self._answers_to(sender)},
        )

    async def _answers_to(self, sender: str) -> AgentId:
        """Return the mailbox for answers to `sender`: an agent's own, or this node's for everybody else."""
        if sender in self._node.roster.agents:
            return AgentId(sender)
        if is_agent(sender) and sender in {record["agent_id"] for record in await self._elsewhere()}:
            return AgentId(sender)
        return self._node.talk.box

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
