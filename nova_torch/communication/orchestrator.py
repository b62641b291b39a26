"""The asynchronous core: compose a message, post it, follow it until it is where the caller wants it.

The daemon sends through this very class, with its own outbox as the postbox; programs use the control socket.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Protocol, Self

from nova_torch.clean import MAX_BODY_BYTES
from nova_torch.communication.compose import compose
from nova_torch.errors import InvalidRequest, NotDelivered, TimedOut
from nova_torch.ulid import new_ulid
from nova_torch.values import UNDELIVERED, AgentRecord, Form, Kind, Message, Priority, Receipt, Reply, State

WAITS: Mapping[str, frozenset[State]] = {
    "submitted": frozenset({State.SUBMITTED, State.ACKNOWLEDGED, State.REPLIED}),
    "acknowledged": frozenset({State.ACKNOWLEDGED, State.REPLIED}),
    "replied": frozenset({State.REPLIED}),
}


class Postbox(Protocol):
    """Where messages are handed in and followed."""

    async def post(self, message: Message) -> Receipt:
        """Take the message over durably; return its receipt. The same id again is the same message."""

    def follow(self, message_id: str, *, replied: bool = False) -> AsyncIterator[Receipt]:
        """Yield the present receipt, then every change, and end after the final one.

        With `replied` a proven delivery is not the end: an answer may follow it.
        """

    async def answer(self, message_id: str) -> Reply:
        """Return the answer that came to a message. Raises MessageNotFound when none has come yet."""

    async def reply(
        self, question_id: str, body: str | bytes, *, message_id: str | None, sender: str, priority: str
    ) -> Receipt:
        """Answer a message that `sender` was sent. The same `message_id` again is the same answer."""


def satisfies(receipt: Receipt, wait: str) -> bool:
    """Tell whether `receipt` is what a sender who waits for `wait` waits for, or as far as it will ever get.

    Raises InvalidRequest when `wait` is none of submitted, acknowledged, replied.
    """
    if wait not in WAITS:
        raise InvalidRequest(f"{wait!r} cannot be waited for.", f"One of: {', '.join(WAITS)}.")
    return is_over(receipt, replied=wait == "replied") or receipt.state in WAITS[wait]


def is_over(receipt: Receipt, *, replied: bool = False) -> bool:
    """Tell whether nothing more will come: it is final, and with `replied` no answer can follow either."""
    if replied:
        return receipt.final and (receipt.state is State.REPLIED or receipt.state in UNDELIVERED)
    return receipt.final


class AsyncNovaOrchestrator:
    """Sends messages and asks about agents. Use it as `async with AsyncNovaOrchestrator() as nova:`.

    `socket` is the control socket of the daemon; by default the one that novactl would use.
    """

    def __init__(
        self,
        *,
        socket: str | None = None,
        postbox: Postbox | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        max_bytes: Callable[[], int] = lambda: MAX_BODY_BYTES,
    ) -> None:
        self._socket = socket
        self._given = postbox
        self._remote: _SocketPostbox | None = None
        self._clock_ms = clock_ms
        self._max_bytes = max_bytes

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection to the daemon, if there is one."""
        if self._remote is not None:
            await self._remote.close()
            self._remote = None

    def compose(self, target: str, body: str | bytes, **options: Any) -> Message:
        """Return the message that `send_message` would send with the same arguments; see `compose.compose`."""
        return compose(target, body, now_ms=self._clock_ms(), max_bytes=self._max_bytes(), **options)

    async def send_message(
        self,
        target: str,
        body: str | bytes,
        *,
        wait: str | None = None,
        timeout_s: float | None = None,
        message_id: str | None = None,
        priority: str = Priority.NORMAL,
        kind: str = Kind.MESSAGE,
        ttl_s: float | None = None,
        form: str = Form.AUTO,
        sender: str = "",
        correlation_id: str = "",
        reply_to: str = "",
        answer: str = "",
    ) -> Receipt:
        """Send `body` to the agent `target` and return the receipt.

        Without `wait` the receipt says `accepted`: the message is durable in the daemon's outbox. With `wait`
        (submitted, acknowledged or replied) it is the receipt of that state or of an earlier final one;
        `receipt.delivered` tells which. `timeout_s` limits the waiting only. `answer` (wanted or none) says
        whether an answer is waited for; `wait="replied"` says so by itself.

        Raises AgentNotFound, InvalidRequest, BodyTooLarge and their kin before anything is stored,
        DaemonUnreachable when no daemon answers, TimedOut when the waiting ran out: the message goes on.
        """
        message = self.compose(
            target,
            body,
            message_id=message_id,
            priority=priority,
            kind=kind,
            ttl_s=ttl_s,
            form=form,
            sender=sender,
            correlation_id=correlation_id,
            reply_to=reply_to,
            answer=answer or ("wanted" if wait == "replied" else ""),
        )
        receipt: Receipt | None = None
        try:
            async with asyncio.timeout(timeout_s):
                async for update in self.updates(message, wait):
                    receipt = update
        except TimeoutError:
            if receipt is None:
                raise TimedOut("the daemon did not accept the message in time.", "novactl status") from None
            raise TimedOut(
                f"message {message.id} is {receipt.state} after {timeout_s:g} s; it goes on.",
                f"Look at it with: novactl trace {message.id}",
            ) from None
        assert receipt is not None
        return receipt

    async def updates(self, message: Message, wait: str | None = None) -> AsyncIterator[Receipt]:
        """Post `message`, yield its accepted receipt, then each change until `wait` is satisfied."""
        if wait is not None and wait not in WAITS:
            raise InvalidRequest(f"{wait!r} cannot be waited for.", f"One of: {', '.join(WAITS)}.")
        postbox = await self._postbox()
        receipt = await postbox.post(message)
        yield receipt
        if wait is None or satisfies(receipt, wait):
            return
        async for later in postbox.follow(message.id, replied=wait == "replied"):
            if later != receipt:
                yield later
            if satisfies(later, wait):
                return

    async def ask(
        self, target: str, body: str | bytes, *, timeout_s: float | None = None, **options: Any
    ) -> Reply:
        """Send a question, wait for its answer and return it; `options` are those of `send_message`.

        Raises TimedOut when no answer came in time: it is kept when it comes, and `answer` returns it, or
        asking again with the same `message_id`. Raises NotDelivered when the question was not delivered.
        """
        receipt = await self.send_message(target, body, wait="replied", timeout_s=timeout_s, **options)
        if receipt.state is not State.REPLIED:
            why = f": {receipt.reason}" if receipt.reason else ""
            raise NotDelivered(
                f"question {receipt.id} is {receipt.state}{why}.", f"See: novactl trace {receipt.id}"
            )
        return await self.answer(receipt.id)

    async def answer(self, message_id: str) -> Reply:
        """Return the answer to a message that was sent from this node.

        Raises MessageNotFound when none has come yet.
        """
        return await (await self._postbox()).answer(message_id)

    async def reply(
        self,
        question_id: str,
        body: str | bytes,
        *,
        sender: str = "",
        message_id: str | None = None,
        priority: str = Priority.NORMAL,
    ) -> Receipt:
        """Answer the message `question_id` as `sender`, whom it was sent to; by default this user.

        Raises MessageNotFound (it was not received at this node), NotAllowed (somebody else has to answer),
        Conflict (it has an answer) and InvalidRequest (nobody reads an answer to it).
        """
        postbox = await self._postbox()
        return await postbox.reply(question_id, body, message_id=message_id, sender=sender, priority=priority)

    async def receipt(self, message_id: str) -> Receipt:
        """Return the present receipt of a message. Raises MessageNotFound."""
        async for receipt in (await self._postbox()).follow(message_id):
            return receipt
        raise AssertionError("a followed message has a receipt")

    async def agents(self, *, role: str | None = None, skills: Sequence[str] = ()) -> list[AgentRecord]:
        """Return the agents of the fleet; all of `skills` must match."""
        found = await (await self._connected()).call("agents", {"role": role, "skills": list(skills) or None})
        return [AgentRecord.from_json(record) for record in found]

    async def trace(self, message_id: str) -> dict[str, Any]:
        """Return every hop of a message: `{id, state, hops: [{at_ms, node, state, reason}]}`."""
        return dict(await (await self._connected()).call("trace", {"id": message_id}))

    async def _postbox(self) -> Postbox:
        return self._given if self._given is not None else await self._connected()

    async def _connected(self) -> _SocketPostbox:
        if self._remote is None:
            self._remote = await _SocketPostbox.connect(self._socket)
        return self._remote


class _SocketPostbox:
    """The postbox behind the control socket of a daemon."""

    def __init__(self, client: Any) -> None:
        self._client = client

    @classmethod
    async def connect(cls, socket: str | None) -> _SocketPostbox:
        from nova_torch import paths
        from nova_torch.protocol.aclient import AsyncClient

        return cls(await AsyncClient.connect(socket or paths.control_socket()))

    async def close(self) -> None:
        await self._client.close()

    async def call(self, name: str, args: Mapping[str, Any]) -> Any:
        return await self._client.call(name, args)

    async def post(self, message: Message) -> Receipt:
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
        }
        return Receipt.from_json(await self._client.call("send", args))

    async def follow(self, message_id: str, *, replied: bool = False) -> AsyncIterator[Receipt]:
        async for update in self._client.stream("follow", {"id": message_id, "replied": replied}):
            yield Receipt.from_json(update)

    async def answer(self, message_id: str) -> Reply:
        return Reply.from_json(await self._client.call("answer", {"id": message_id}))

    async def reply(
        self, question_id: str, body: str | bytes, *, message_id: str | None, sender: str, priority: str
    ) -> Receipt:
        args = {"question": question_id, "body": body, "sender": sender or None, "priority": priority}
        answer = await self._client.call("reply", {**args, "id": message_id or new_ulid()})
        return Receipt.from_json(answer)
