"""Post a message, to one agent or to many, and follow it until it is where the caller wants it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Unpack

from nova_torch import arguments
from nova_torch.communication.broadcast import broadcast
from nova_torch.communication.compose import compose
from nova_torch.communication.group import ONE, Group, is_group
from nova_torch.communication.knowing import Knowing
from nova_torch.communication.options import MessageOptions
from nova_torch.communication.postbox import check_wait, satisfies
from nova_torch.errors import InvalidRequest, NovaError, TimedOut
from nova_torch.values import Form, Kind, Message, Priority, Receipt


class Sending(Knowing):
    """The methods that send."""

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
        any_member: bool = False,
    ) -> Receipt:
        """Send `body` to the agent `target` and return the receipt.

        With `any_member` the target may be a group (`role:reviewer,skill:python`, `node:eu-1`, `label:gpu`, `all`):
        exactly one of it gets the message, the idle one with least to do, and `receipt.agent` says who. Sent again
        with the same `message_id` it goes to the same one. Only a daemon chooses.

        Without `wait` the receipt says `accepted`: the message is durable in the daemon's outbox. Without a daemon
        it says `queued`: the broker has it in the agent's mailbox. With `wait` (submitted, acknowledged or replied)
        it is the receipt of that state or of an earlier final one; `receipt.delivered` tells which. `timeout_s`
        limits the whole call. `answer` (wanted or none) says whether an answer is waited for; `wait="replied"` and
        the kind `task` say so by themselves.

        Raises AgentNotFound (with the nearest name), InvalidRequest, BodyTooLarge and their kin before anything is
        stored, MailboxFull, TimedOut when the waiting ran out: the message goes on.
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
            headers={ONE: "yes"} if any_member and is_group(target) else None,
        )
        timeout_s = arguments.seconds("timeout_s", timeout_s)
        receipt: Receipt | None = None
        try:
            async with asyncio.timeout(timeout_s):
                async with aclosing(self.updates(message, wait)) as updates:
                    async for update in updates:
                        receipt = update
        except TimeoutError:
            raise _ran_out(message, receipt, timeout_s) from None
        except NovaError as error:
            error.message_id = message.id
            raise
        assert receipt is not None
        return receipt

    async def updates(self, message: Message, wait: str | None = None) -> AsyncGenerator[Receipt, None]:
        """Post `message`, yield its first receipt, then each change until `wait` is satisfied."""
        if wait is not None:
            check_wait(wait)
        receipt = await self._postbox.post(message)
        if message.wants_answer and wait != "replied":
            self._listening.asked(message.id)
        yield receipt
        if wait is None or satisfies(receipt, wait):
            return
        async with aclosing(self.follow(message.id, wait)) as later:
            async for update in later:
                if update != receipt:
                    yield update

    async def follow(self, message_id: str, wait: str) -> AsyncGenerator[Receipt, None]:
        """Yield the present receipt of a message, then each change until `wait` is satisfied."""
        check_wait(wait)
        async for receipt in self._postbox.follow(message_id, replied=wait == "replied"):
            yield receipt
            if satisfies(receipt, wait):
                return

    async def broadcast(
        self,
        body: str | bytes,
        *,
        role: str | None = None,
        skills: Sequence[str] = (),
        node: str | None = None,
        labels: Sequence[str] = (),
        wait: str | None = None,
        timeout_s: float | None = None,
        minimum: int | None = None,
        queue_offline: bool = False,
        **options: Unpack[MessageOptions],
    ) -> list[Receipt]:
        """Send `body` to every agent, or to those with this role, all these skills, on this node or such nodes.

        It is one message an agent: one receipt each is returned, by the agents' names. With `wait` each is followed
        for at most `timeout_s` seconds; the receipt of one that is not there by then says how far it came. One that
        was refused (its mailbox is full, it is gone) has a receipt `failed` with the reason. The sender itself is
        left out, and so are those that are away (lost, exited), unless `queue_offline` has it wait for them.

        `minimum` is a quorum: it returns as soon as so many are as far as `wait`. Raises TimedOut when fewer are
        there in time, NotDelivered when so many cannot be any more (they refused it, or nothing tells that they
        read it), InvalidRequest when the group has not so many.

        `message_id` is that of the whole: sent again with it, every agent that got its message gets it no second
        time. Raises AgentNotFound when nobody matches.
        """
        group = Group(
            role=arguments.optional_text("role", role),
            skills=arguments.texts("skills", skills),
            node=arguments.optional_text("node", node),
            labels=arguments.texts("labels", labels),
        )
        minimum = arguments.whole("minimum", minimum, least=1)
        if minimum is not None and wait is None:
            raise InvalidRequest("minimum goes with wait.", "Say what to wait for: wait='acknowledged'.")
        if wait is not None:
            check_wait(wait)
        timeout_s = arguments.seconds("timeout_s", timeout_s)
        self.compose("all", body, **options)  # what is wrong with it is wrong before anybody gets it
        return await broadcast(
            self,
            group,
            body,
            wait=wait,
            timeout_s=timeout_s,
            options=options,
            minimum=minimum,
            queue_offline=bool(queue_offline),
        )


def _ran_out(message: Message, receipt: Receipt | None, timeout_s: float | None) -> TimedOut:
    """Say how far a message came within the time limit."""
    if receipt is None:
        error = TimedOut(
            f"nobody took message {message.id} over within {timeout_s:g} s; whether it was taken is not known.",
            "Send it again with the same message_id: it is typed once.",
        )
    else:
        error = TimedOut(
            f"message {message.id} is {receipt.state} after {timeout_s:g} s; it goes on.",
            f"Look at it with: novactl trace {message.id}",
        )
    error.message_id = message.id
    return error
