"""The fleet behind the control socket of a daemon."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from nova_torch import paths
from nova_torch.communication.group import ONE
from nova_torch.errors import DaemonUnreachable
from nova_torch.fleet import Presence
from nova_torch.protocol.aclient import AsyncClient
from nova_torch.registry import Query
from nova_torch.ulid import new_ulid
from nova_torch.values import AgentRecord, Message, Receipt, Reply


class DaemonBox:
    """Asks one daemon. Make it with `connect`; every method raises DaemonUnreachable when it is gone."""

    durable = True
    """What it accepts is on a disk and sent again until its receipt is there."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        pane, tmux = os.environ.get("TMUX_PANE"), os.environ.get("TMUX")
        self.caller = {"pane": pane, "tmux": tmux} if pane and tmux else {}
        """What says in whose pane the program runs."""

    def __repr__(self) -> str:
        return f"<DaemonBox {self._client!r}>"

    @classmethod
    async def connect(cls, socket: str | None) -> DaemonBox:
        """Connect to the daemon at `socket`, by default the one that novactl would use."""
        return cls(await AsyncClient.connect(socket or paths.find_socket()))

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()

    async def call(self, name: str, args: Mapping[str, Any] | None = None, *, what: str = "") -> Any:
        """Make any call of the control protocol."""
        return await self._client.call(name, args)

    def stream(self, name: str, args: Mapping[str, Any], *, what: str = "") -> AsyncGenerator[Any, None]:
        """Make any streaming call of the control protocol."""
        return self._client.stream(name, args)

    # -- Postbox --

    async def post(self, message: Message) -> Receipt:
        """Have the daemon take the message into its outbox."""
        args = {
            "id": message.id,
            "target": message.target,
            "body": message.body,
            "priority": message.priority.value,
            "kind": message.kind.value,
            "form": message.form.value,
            "sender": message.sender or None,
            "correlation_id": message.correlation_id or None,
            "reply_to": message.reply_to or None,
            "answer": message.headers.get("answer"),
            "ttl_s": None if message.expires_ms is None else (message.expires_ms - message.created_ms) / 1000,
            **({"any": True} if ONE in message.headers else {}),
            **self.caller,
        }
        return Receipt.from_json(await self._client.call("send", args))

    async def follow(self, message_id: str, *, replied: bool = False) -> AsyncIterator[Receipt]:
        """Follow a message of the daemon's outbox."""
        async with aclosing(self.stream("follow", {"id": message_id, "replied": replied})) as updates:
            async for update in updates:
                yield Receipt.from_json(update)

    async def answer(self, message_id: str) -> Reply:
        """Return the answer that the daemon keeps."""
        return Reply.from_json(await self._client.call("answer", {"id": message_id}))

    async def reply(
        self, question_id: str, body: str | bytes, *, message_id: str | None, sender: str, priority: str
    ) -> Receipt:
        """Answer a message that the daemon received."""
        args = {"question": question_id, "body": body, "sender": sender or None, "priority": priority}
        answer = await self._client.call("reply", {**args, "id": message_id or new_ulid(), **self.caller})
        return Receipt.from_json(answer)

    # -- the fleet --

    async def find(self, query: Query) -> list[AgentRecord]:
        """Return the agents of the fleet that match, however many pages they are."""
        given = {
            "role": query.role,
            "skills": list(query.skills),
            "node": query.node,
            "labels": list(query.labels),
            "state": query.state,
            "free": query.free,
        }
        found: list[AgentRecord] = []
        after: str | None = None
        while True:
            page = await self._client.call("agents_page", {**given, "after": after})
            found += (AgentRecord.from_json(record) for record in page["agents"])
            after = page["next"]
            if after is None:
                return found

    async def presence(self, name: str) -> Presence:
        """Return what the fleet knows of an agent or of a node."""
        return Presence.from_json(await self._client.call("presence", {"name": name}))

    async def trace(self, message_id: str) -> dict[str, Any]:
        """Return every hop of a message."""
        return dict(await self._client.call("trace", {"id": message_id}))


def only_a_daemon(what: str) -> DaemonUnreachable:
    """Return the error for what cannot be done straight at the broker."""
    return DaemonUnreachable(f"no daemon runs here, and {what}.", "Start it: novactl up")
