"""What a program without a daemon asks of the nodes of the fleet, in the words of the control protocol."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

from nova_torch.broker import Broker
from nova_torch.codec import decode_signed
from nova_torch.communication.asker import Asker
from nova_torch.communication.daemon_box import only_a_daemon
from nova_torch.communication.fleet_watch import AT_ONCE, EventWatch, watch_agents
from nova_torch.communication.keyless import demand_key
from nova_torch.errors import Conflict, DaemonUnreachable, InvalidRequest, MessageNotFound, NovaError
from nova_torch.fleet import NodeView, everybody
from nova_torch.history import MessageRecord, merged
from nova_torch.people import person_of
from nova_torch.placement import AUTO, place
from nova_torch.registry import Query
from nova_torch.signing import Keyring
from nova_torch.ulid import new_ulid
from nova_torch.values import Receipt, State

NOBODY = "Start a daemon here: novactl up"


class FleetCalls:
    """Each method raises BrokerUnavailable, and TimedOut when a node whose lease holds does not answer."""

    def __init__(
        self,
        broker: Broker,
        views: Callable[[], Awaitable[list[NodeView]]],
        *,
        keyring: Keyring,
        strict: bool,
        clock_ms: Callable[[], int],
        gone_s: float,
    ) -> None:
        self._broker = broker
        self._views = views
        self._keyring = keyring
        self._strict = strict
        self._asker = Asker(broker, keyring=keyring, strict=strict, clock_ms=clock_ms, gone_s=gone_s)
        self._places = asyncio.Semaphore(AT_ONCE)

    def __repr__(self) -> str:
        return f"<FleetCalls {self._asker!r}>"

    async def close(self) -> None:
        """Leave nothing behind in the broker."""
        await self._asker.close()

    async def call(self, name: str, args: Mapping[str, Any], *, what: str) -> Any:
        """Make a call of the control protocol. Raises DaemonUnreachable (`what` says why) for all but `history`."""
        if name != "history":
            raise only_a_daemon(what)
        return [row.to_json() for row in await self.history(args)]

    def stream(self, name: str, args: Mapping[str, Any], *, what: str) -> AsyncGenerator[Any, None]:
        """Make a streaming call: `watch`, `agents_watch`, `spawn`; DaemonUnreachable for all others."""
        if name == "watch":
            return EventWatch(self._broker, self._asker, self._views, self._keyring, args).run()
        if name == "agents_watch":
            given = {**args, "skills": tuple(args["skills"]), "labels": tuple(args["labels"])}
            return watch_agents(self._broker, self._views, Query(**given))
        if name == "spawn":
            return self.spawn(args)
        raise only_a_daemon(what)

    # -- messages --

    async def history(self, args: Mapping[str, Any]) -> list[MessageRecord]:
        """Return what the nodes that live remember, with what lies in the mailboxes of the broker."""
        views = await self._views()
        limit = int(args["limit"])

        async def told(node: str) -> list[MessageRecord]:
            async with self._places:
                answers = [each async for each in self._asker.follow(node, "history", args)]
            return [MessageRecord.from_json(row) for each in answers for row in each["rows"]]

        remembered = await asyncio.gather(*(told(view.node) for view in self._answering(views)))
        rows = [row for rows in remembered for row in rows] + await self._lying(views, args, limit)
        return merged(rows, limit)

    async def _lying(self, views: list[NodeView], args: Mapping[str, Any], limit: int) -> list[MessageRecord]:
        """Return what waits at the broker: of an agent whose node is away nobody else tells."""
        agent, sender = args.get("agent"), args.get("sender")
        names = [agent] if agent is not None else [record.agent_id for record in everybody(views)]
        rows = []
        for name, entries in (await self._broker.lying(names, limit)).items():
            for _, payload in entries:
                try:
                    message, signature = decode_signed(payload)
                except InvalidRequest:
                    continue
                if self._strict and self._keyring.check_message(message, signature, name):
                    continue
                if sender in (None, message.sender):
                    rows.append(
                        MessageRecord.of(message, agent=name, state=State.QUEUED, reason="", private=True)
                    )
        return rows

    async def reply(
        self, question_id: str, body: str | bytes, *, message_id: str | None, sender: str, priority: str
    ) -> Receipt:
        """Have the node that received a question take over the answer to it."""
        me = person_of(os.getuid())
        name = sender or me
        details = {
            "question": question_id,
            "body": body,
            "id": message_id or new_ulid(),
            "sender": name,
            "priority": priority,
            "owner": me,
        }
        missed: NovaError | None = None
        for node in self._order(await self._views(), name):
            try:
                (receipt,) = [told async for told in self._asker.follow(node, "reply", details)]
                return Receipt.from_json(receipt)
            except MessageNotFound as error:
                missed = missed or error
            except Conflict as error:  # the node that sent it says that it is not there yet
                missed = error
        if isinstance(missed, Conflict):
            raise missed
        if missed is None:
            raise DaemonUnreachable("no daemon runs here, and no node of the fleet lives.", NOBODY)
        raise MessageNotFound(
            f"no node that lives has received a message {question_id[:40]}.",
            "A question is answered through the node that received it: see whether it lives.",
        )

    def _answering(self, views: list[NodeView]) -> list[NodeView]:
        """Return the nodes that live. Raises NotAllowed when one answers only who has the key of the fleet."""
        return [demand_key(view, self._keyring) for view in views if view.alive]

    def _order(self, views: list[NodeView], sender: str) -> list[str]:
        """Return the nodes that live, first where `sender` is."""
        living = self._answering(views)
        living.sort(key=lambda view: all(record.agent_id != sender for record in view.agents))
        return [view.node for view in living]

    # -- agents --

    async def spawn(self, args: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Have a node start an agent: the one that is named, else the one that fits best; yield each step."""
        views = await self._views()
        if not any(view.alive for view in views):
            raise DaemonUnreachable("no daemon runs here, and no node of the fleet lives.", NOBODY)
        given = dict(args)
        where, labels, role = given.pop("node", AUTO), given.pop("labels", []), given.pop("role")
        chosen = place(views, role=role, labels=labels, node=where)
        self._answering([view for view in views if view.node == chosen.node])
        yield {"step": "placed", "reason": chosen.why, "node": chosen.node}
        given |= {"name": role, "here": "", "owner": person_of(os.getuid())}
        async for step in self._asker.follow(chosen.node, "spawn", given):
            yield step
