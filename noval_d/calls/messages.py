"""Answer the calls about messages: send, follow, trace, watch, dead letters."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from nova_torch.communication.compose import ANSWERS
from nova_torch.communication.group import choose, is_group, least_loaded, parse_group
from nova_torch.errors import (
    AgentNotFound,
    InvalidRequest,
    MessageNotFound,
    PaneNotFound,
    ShuttingDown,
)
from nova_torch.events import Filter
from nova_torch.fleet import everybody
from nova_torch.nearest import suggestion
from nova_torch.values import (
    AGENT_ID,
    UNDELIVERED,
    AgentId,
    Kind,
    Message,
    MessageId,
    PaneId,
    Priority,
    Receipt,
    State,
)
from noval_d.agents.adoption import Candidate
from noval_d.agents.proposals import register_command
from noval_d.calls.base import unknown
from noval_d.calls.talks import Talks
from noval_d.control.args import Args
from noval_d.control.calls import Access, Peer
from noval_d.delivery.template import is_agent
from noval_d.mailroom.history import remembered
from noval_d.mailroom.ledger import Ledger, Phase
from noval_d.mailroom.waiting import hint
from noval_d.node.news import public
from noval_d.tmux import tty
from noval_d.tmux.front import read_front
from noval_d.tmux.panes import observe

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
        self._node.guard.demand_send(message, AgentId(message.headers["agent"]))
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
        told = {**receipt.to_json(), "hops": hops, "typed": typed, "hint": await self._hint(receipt, hops)}
        return (
            told if receipt.state is not State.REPLIED else {**told, "reply": self._reply_of(peer, receipt)}
        )

    async def _hint(self, receipt: Receipt, hops: list[dict[str, Any]]) -> str:
        """Return what may keep a message elsewhere."""
        node = self._node
        if receipt.final or receipt.agent is None or receipt.agent in node.roster.agents:
            return ""
        return hint(
            receipt.state,
            owner=receipt.node or "",
            here=node.name,
            silent_s=(node.clock_ms() - max(hop["at_ms"] for hop in hops)) / 1000,
            strict="" if node.guard.seals.signs else await node.others.strict(receipt.agent),
            mute=node.guard.seals.strict and await node.others.mute(receipt.node or ""),
            broker="" if node.broker.state == "up" else node.broker.problem,
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
        told = unknown(wanted.agent, await self._fleet_views()) if wanted.agent else ""
        with self._node.events.subscribe(wanted.wants) as events:
            yield {"node": self._node.name, **({"unknown": told} if told else {})}
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
        node.performances.reopened(entry.agent)
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
        sender = self._sender(peer, asked)
        agent = known or await self._resolve(target, sender, one=asked.flag("any"))  # what was taken is known
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
        if is_agent(sender) and await self._node.others.has(AgentId(sender)):
            return AgentId(sender)
        return self._node.talk.box

    async def _resolve(self, target: str, sender: str = "", *, one: bool = False) -> AgentId:
        """Return the agent that `target` names: an id here or elsewhere, or a local pane as session:window.

        With `one` a group names the one of it who has least to do.
        """
        roster = self._node.roster
        if target in roster.agents:
            return AgentId(target)
        if is_group(target):
            if not one:
                raise InvalidRequest(
                    f"{target} may be several agents.",
                    "Name one; or send to any of them (--any, any_member=True), to all (novactl send, broadcast).",
                )
            views = await self._fleet_views()
            with self._as_far_as_seen():
                chosen = choose(parse_group(target), views, sender=sender, one=True)
                return least_loaded(chosen, views).agent_id
        if target.startswith("%") or ":" in target:
            pane_id = await self._target(target)
            agent = roster.of_pane(pane_id)
            if agent is None:
                first = await self._registering(pane_id)
                raise AgentNotFound(f"pane {target} is no registered agent.", f"First: {first}")
            return agent.id
        if AGENT_ID.match(target) and await self._node.others.has(AgentId(target)):
            return AgentId(target)
        views, others = await self._fleet_views(fresh_s=0), self._node.others.names
        if target in others:  # its node has not claimed its mailbox yet, or has to do so again
            return AgentId(target)
        known = {record.agent_id for record in everybody(views)} | others
        cure = suggestion(target, known, otherwise="See them all: novactl agents")
        if self._node.broker.state != "up":
            raise AgentNotFound(
                f"no agent {target!r} is registered here, and the broker, which knows of other nodes, is down.",
                cure,
            )
        raise AgentNotFound(f"no agent {target!r} is registered.", cure)

    async def _registering(self, pane_id: str) -> str:
        """Return the command that registers a pane."""
        node = self._node
        seen = await observe(node.tmux.client, PaneId(pane_id), capture=False)
        if seen is None:
            return f"novactl register NAME --pane {pane_id}"
        front = read_front(seen.facts.pid)
        candidate = Candidate(pane=seen.facts, argv=tuple(front.argv) if front is not None else ())
        try:
            line_buffered = tty.is_line_buffered(seen.facts.tty)
        except (PaneNotFound, OSError):
            line_buffered = False
        return register_command(
            candidate, node.roster.drivers, node.roster.agents, line_buffered=line_buffered
        )

    def _dead(self, text: str) -> MessageId:
        message = MessageId(text)
        entry = self._node.ledger.find(message)
        if entry is None or entry.phase is not Phase.SETTLED or entry.state not in UNDELIVERED:
            raise MessageNotFound(
                f"no undelivered message {text} is known here.", "List them: novactl dead list"
            )
        return message
