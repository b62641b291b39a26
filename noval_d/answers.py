"""Answer the calls of the control socket: read the arguments, ask the node, shape the answer."""

from __future__ import annotations

import asyncio
import logging
import os
import pwd
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgpack

from nova_torch.config import load
from nova_torch.errors import (
    AgentNotFound,
    BrokerUnavailable,
    Conflict,
    InvalidRequest,
    MessageNotFound,
    NotOwner,
    PaneNotFound,
    ShuttingDown,
    TmuxUnavailable,
)
from nova_torch.nearest import suggestion
from nova_torch.values import (
    UNDELIVERED,
    AgentId,
    AgentRecord,
    AgentSpec,
    Kind,
    Message,
    MessageId,
    PaneId,
    Priority,
    State,
)
from nova_torch.version import VERSION
from noval_d import health
from noval_d.agents.agent import Agent
from noval_d.control.args import Args
from noval_d.control.calls import Access, Call, Peer
from noval_d.mailroom.ledger import Ledger, Phase
from noval_d.mailroom.outbox import Outbox
from noval_d.node.node import Node
from noval_d.tmux.panes import PaneFacts, observe

log = logging.getLogger("nova.answers")

STALE_S = 1.0  # what an agent does is looked up anew when the last look is older than this
REFRESH_S = 0.5
STATUS_S = 0.1  # between two statuses of a stream, at least
INBOX_ROWS = 50


class Answers:
    """The daemon's side of every call. One method a call."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def table(self) -> dict[str, Call]:
        """Return what the control server serves."""
        read, write = Access.READ, Access.WRITE
        plain = {
            "ping": (self.ping, read),
            "agents": (self.agents, read),
            "trace": (self.trace, read),
            "doctor": (self.doctor, read),
            "config": (self.config, read),
            "dead_list": (self.dead_list, read),
            "register": (self.register, write),
            "unregister": (self.unregister, write),
            "inbox": (self.inbox, write),
            "peek": (self.peek, write),
            "pause": (self.pause, write),
            "resume": (self.resume, write),
            "dead_retry": (self.dead_retry, write),
            "dead_drop": (self.dead_drop, write),
            "hook": (self.hook, write),
            "reload": (self.reload, write),
            "stop": (self.stop, write),
        }
        streams = {
            "status": (self.status, read),
            "watch": (self.watch, read),
            "follow": (self.follow, read),
            "send": (self.send, write),
        }
        calls = {name: Call(handler=handler, access=access) for name, (handler, access) in plain.items()}
        for name, (stream, access) in streams.items():
            calls[name] = Call(handler=stream, access=access, streams=True)
        return calls

    # -- the node --

    async def ping(self, _peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
        """Say who answers."""
        return {"node": self._node.name, "version": VERSION, "pid": os.getpid()}

    async def status(self, peer: Peer, _args: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Return the node's status; as a stream, again soon after events."""
        private = peer.access >= Access.WRITE
        await self._refresh()
        news = False

        def first(_: object) -> bool:
            nonlocal news
            known, news = news, True
            return not known

        with self._node.events.subscribe(first) as events:
            yield health.status(self._node, private=private)
            async for _ in events:
                await asyncio.sleep(STATUS_S)  # a thousand events a second are no thousand statuses
                news = False
                yield health.status(self._node, private=private)

    async def doctor(self, peer: Peer, _args: Mapping[str, Any]) -> list[dict[str, str]]:
        """Return every finding about the node, good ones too."""
        await self._refresh()
        return health.checks(self._node, private=peer.access >= Access.WRITE)

    async def config(self, _peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
        """Return the effective configuration without secrets."""
        return self._node.config.shown()

    async def reload(self, _peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
        """Read the configuration again; return the keys that changed."""
        return {"changed": self._node.reload(load(self._node.config.source or None))}

    async def stop(self, _peer: Peer, _args: Mapping[str, Any]) -> dict[str, Any]:
        """Stop the daemon in order."""
        self._node.stop()
        return {}

    # -- agents --

    async def agents(self, _peer: Peer, args: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the agents of the fleet that match."""
        asked = Args(args)
        role, node, state = (asked.optional_text(name) for name in ("role", "node", "state"))
        skills = set(asked.texts("skills"))
        await self._refresh()
        found = [
            record
            for record in [*self._local(), *await self._elsewhere()]
            if (role is None or record["role"] == role)
            and (node is None or record["node"] == node)
            and (state is None or record["state"] == state)
            and skills <= set(record["skills"])
        ]
        return sorted(found, key=lambda record: str(record["agent_id"]))

    async def register(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Make a pane an agent."""
        asked = Args(args)
        node = self._node
        pane = await self._pane(asked)
        spec = AgentSpec(
            agent_id=AgentId(asked.text("agent_id")),
            role=asked.optional_text("role") or "",
            skills=asked.texts("skills"),
            driver=asked.optional_text("driver") or self._driver_of(pane),
            program=pane.command,
        )
        await self._refuse_foreign(spec.agent_id)
        agent = await node.roster.register(spec, pane, node.tmux.client)
        try:
            await node.broker.claim(agent.id)
        except BrokerUnavailable as error:
            node.broker.failed(error)  # claimed with the next connection; until then it is reached directly
        node.inbox.recheck(pending=True)
        await self._look(agent)
        return self._record(agent)

    async def unregister(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Forget an agent; what was not typed fails, what may be typed is unconfirmed."""
        node = self._node
        try:
            client = node.tmux.client
        except TmuxUnavailable:
            client = None
        agent, worker = await node.roster.unregister(Args(args).text("agent_id"), client)
        node.end_worker(agent.id)
        why = f"agent {agent.id} was unregistered"
        dropped = worker.take_all()
        for item in dropped:
            await node.desk.settle(item, State.FAILED, why)
        for item in worker.items:
            proven = item.phase is Phase.ENTERED
            await node.desk.settle(item, State.SUBMITTED if proven else State.UNCONFIRMED, why)
        waiting = await node.inbox.drain(agent.id, why)
        try:
            await node.broker.release(agent.id)
        except (BrokerUnavailable, NotOwner) as error:
            log.warning("answers.not_released", extra={"agent": agent.id, "problem": error.message})
        waiting += await node.dispatch.fail_all(agent.id, why)
        return {"agent_id": agent.id, "dropped": len(dropped) + waiting}

    async def pause(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Hold an agent's messages."""
        return self._record(await self._node.roster.pause(Args(args).text("agent_id"), True))

    async def resume(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Hold an agent's messages no longer."""
        agent = await self._node.roster.pause(Args(args).text("agent_id"), False)
        await self._look(agent)
        return self._record(agent)

    async def peek(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return what an agent's pane shows."""
        asked = Args(args)
        agent = self._node.roster.get(asked.text("agent_id"))
        lines = asked.optional_integer("lines", least=1, most=1000)
        if agent.facts is None:
            raise PaneNotFound(
                f"agent {agent.id} has no pane now.", "Register it in its new one: novactl register"
            )
        seen = await observe(self._node.tmux.client, agent.facts.pane_id, capture=True)
        if seen is None or seen.screen is None:
            raise PaneNotFound(f"the pane of agent {agent.id} is gone.", "novactl agents")
        text = [seen.screen.text(row) for row in range(len(seen.screen.rows))]
        while text and not text[-1]:
            text.pop()
        return {
            "agent_id": agent.id,
            "pane": seen.facts.pane_id,
            "state": agent.state.value,
            "lines": text[-lines:] if lines else text,
        }

    async def hook(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Take over a call of an agent's hook; what is nobody's is ignored."""
        asked = Args(args)
        if self._same_server(asked.optional_text("tmux")):
            await self._node.hook(asked.text("pane"), asked.text("event"), asked.optional_payload("payload"))
        return {}

    # -- messages --

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

    async def watch(self, _peer: Peer, args: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Stream the events of the message flow."""
        agent = Args(args).optional_text("agent")
        with self._node.events.subscribe(lambda event: agent is None or event["agent"] == agent) as events:
            yield {"node": self._node.name}
            async for event in events:
                yield event

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
        """Return the messages that were not delivered."""
        agent = Args(args).optional_text("agent")
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
            for entry, at_ms in self._node.ledger.undelivered()
            if agent is None or entry.agent == agent
        ]

    async def dead_retry(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Order an undelivered message to be typed again."""
        message = self._dead(Args(args).text("id"))
        node = self._node
        entry = node.ledger.find(message)
        assert entry is not None
        if entry.agent not in node.roster.agents:
            raise AgentNotFound(f"agent {entry.agent} is no longer registered here.", "Register it first.")
        now = node.clock_ms()
        await node.store.write(Ledger.reopened(message, now), Outbox.reopened(message, now))
        node.inbox.restore()
        return {"id": message, "state": State.QUEUED.value}

    async def dead_drop(self, _peer: Peer, args: Mapping[str, Any]) -> dict[str, Any]:
        """Take an undelivered message off the list."""
        message = self._dead(Args(args).text("id"))
        await self._node.store.write(Ledger.dropped(message, self._node.clock_ms()))
        return {"id": message}

    # -- help --

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

    async def _pane(self, asked: Args) -> PaneFacts:
        """Return the pane that register is about: %N, session:window[.pane], or the caller's own."""
        named = asked.optional_text("pane") or asked.optional_text("pane_env")
        if named is None:
            raise InvalidRequest("no pane is named.", "Give --pane %N, or --here inside the agent's pane.")
        if asked.optional_text("pane") is None and not self._same_server(asked.optional_text("tmux")):
            raise Conflict(
                "this pane is on another tmux server than the daemon serves.",
                f"The daemon serves {self._node.tmux.socket.path}; set NOVA_TMUX for it.",
            )
        client = self._node.tmux.client
        pane_id = named if named.startswith("%") else await self._target(named)
        seen = await observe(client, PaneId(pane_id), capture=False)
        if seen is None:
            raise PaneNotFound(f"there is no pane {named}.", "List them: tmux list-panes -a")
        if seen.facts.session == client.session:
            raise Conflict(f"pane {named} is the daemon's own.", "Name the pane of an agent.")
        return seen.facts

    async def _target(self, target: str) -> str:
        """Return the pane id of `session:window[.pane]`."""
        from noval_d.tmux.admin import resolve_target  # libtmux: only who names a window pays for it

        return await resolve_target(self._node.tmux.socket, target)

    def _driver_of(self, pane: PaneFacts) -> str:
        drivers = self._node.roster.drivers.values()
        found = [driver.name for driver in drivers if pane.command in driver.commands]
        if len(found) == 1:
            return found[0]
        raise InvalidRequest(
            f"pane {pane.pane_id} runs {pane.command!r}, which no driver claims.",
            f"Say how it is typed into: --driver {'|'.join(sorted(self._node.roster.drivers))}",
        )

    async def _refuse_foreign(self, agent_id: str) -> None:
        for record in await self._elsewhere():
            if record["agent_id"] == agent_id:
                raise Conflict(
                    f"agent {agent_id} is registered on node {record['node']}.", "Unregister it there first."
                )

    def _agent_of(self, asked: Args) -> Agent | None:
        """Return the agent in whose pane the caller runs, if any."""
        pane = asked.optional_text("pane")
        if pane is None or not self._same_server(asked.optional_text("tmux")):
            return None
        return self._node.roster.of_pane(pane)

    def _same_server(self, tmux: str | None) -> bool:
        """Tell whether the caller's $TMUX (socket,pid,session) is the server of this node."""
        if not tmux:
            return True
        return os.path.realpath(tmux.split(",", 1)[0]) == os.path.realpath(self._node.tmux.socket.path)

    def _record(self, agent: Agent) -> dict[str, Any]:
        return self._node.roster.record(agent, self._node.roster.workers[agent.id].in_hand).to_json()

    def _local(self) -> list[dict[str, Any]]:
        return [self._record(agent) for agent in self._node.roster.agents.values()]

    async def _elsewhere(self) -> list[dict[str, Any]]:
        """Return the agents of the other live nodes, as they last beat; none while the broker is down."""
        broker = self._node.broker.broker
        if broker is None:
            return []
        try:
            leases = await broker.nodes()
        except BrokerUnavailable as error:
            self._node.broker.failed(error)
            return []
        found: list[dict[str, Any]] = []
        for lease in leases:
            if lease.alive and lease.node != self._node.name and lease.blob:
                found += _records(lease.blob)
        return found

    async def _refresh(self) -> None:
        """Look again at agents that were not looked at lately; a tmux that is slow does not hold the answer."""
        now = self._node.clock()
        try:
            async with asyncio.timeout(REFRESH_S):
                for agent in list(self._node.roster.agents.values()):
                    if now - agent.looked_at > STALE_S:
                        await self._look(agent)
        except TimeoutError:
            log.info("answers.refresh_cut_short")

    async def _look(self, agent: Agent) -> None:
        if agent.facts is None or self._node.tmux.state == "not_answering":
            return
        try:
            await agent.view(self._node.tmux.client)
        except TmuxUnavailable:
            self._node.tmux.answered(well=False)

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


def _records(blob: bytes) -> list[dict[str, Any]]:
    """Return the agents of another node's blob; what cannot be read is left out."""
    try:
        agents = msgpack.unpackb(blob)["agents"]
        return [{**agent, **AgentRecord.from_json(agent).to_json()} for agent in agents]
    except (ValueError, KeyError, TypeError, msgpack.UnpackException):
        log.warning("answers.unreadable_node")
        return []


def _person(peer: Peer) -> str:
    try:
        return f"user:{pwd.getpwuid(peer.uid).pw_name}"
    except KeyError:
        return f"user:{peer.uid}"
